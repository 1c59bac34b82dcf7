//! One operation of the API: its route, and what the OpenAPI document says of it. Routes are made from these rows, so that nothing is
//! served that the document does not name.

use crate::app::App;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use margrave_shared::error::ErrorCode;
use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};
use std::sync::Arc;

/// What kind of act of administration it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Looking.
    Read,
    /// Changing.
    Write,
}

impl Act {
    /// The second half of the permission.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody.
    Anybody,
    /// A client with HTTP Basic.
    Client,
    /// Any permission token for the issuer.
    Token,
    /// One of a person.
    Person,
    /// One with a permission.
    Holder(&'static str),
    /// An edge, by its signature.
    Edge,
    /// Administrators of the merchant whose things these are, and of the platform.
    Merchant(Act),
    /// Administrators of the platform.
    Platform(Act),
}

/// A parameter of the query: its name, its JSON Schema's type, what it is.
pub(crate) type Parameter = (&'static str, &'static str, &'static str);

pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

#[derive(Clone, Copy)]
pub(super) enum Body {
    Json(Shape),
    Form { required: &'static str, optional: &'static [&'static str] },
}

/// What an operation has in common with some others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// A secret is tried by it.
    Tried,
    /// It may be repeated with the same `Idempotency-Key`.
    Repeatable,
    /// It needs `If-Match`.
    Versioned,
    /// It answers with an `ETag`.
    Tagged,
}

/// One operation.
pub(crate) struct Operation {
    pub(super) verb: &'static str,
    /// Its path, below the base of all of them.
    pub(crate) path: String,
    route: MethodRouter<Arc<App>>,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) access: Access,
    /// A permission of its own that it needs beside.
    pub(super) right: Option<&'static str>,
    pub(super) query: Vec<Parameter>,
    pub(super) body: Option<Body>,
    pub(super) answers: Vec<(u16, &'static str, Option<Shape>)>,
    pub(super) refuses: Vec<ErrorCode>,
    habits: Vec<Habit>,
}

macro_rules! verbs {
    ($($name:ident: $filter:ident, $verb:literal;)+) => {$(
        #[doc = concat!("An operation of `", $verb, "`.")]
        pub(crate) fn $name<H, T>(path: &str, id: &'static str, handler: H) -> Operation
        where
            H: Handler<T, Arc<App>>,
            T: 'static,
        {
            Operation::new($verb, path, id, on(MethodFilter::$filter, handler))
        }
    )+};
}

verbs! {
    get: GET, "get";
    post: POST, "post";
    put: PUT, "put";
    delete: DELETE, "delete";
}

impl Operation {
    fn new(verb: &'static str, path: &str, id: &'static str, route: MethodRouter<Arc<App>>) -> Self {
        Self {
            verb,
            path: path.to_owned(),
            route,
            id,
            summary: "",
            access: Access::Anybody,
            right: None,
            query: Vec::new(),
            body: None,
            answers: Vec::new(),
            refuses: Vec::new(),
            habits: Vec::new(),
        }
    }

    /// What it does, in one line.
    pub(crate) const fn says(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// Who may call it.
    pub(crate) const fn needs(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Which permission it needs beside.
    pub(crate) const fn and(mut self, right: &'static str) -> Self {
        self.right = Some(right);
        self
    }

    /// What its query may hold, beside what was named before.
    pub(crate) fn query(mut self, parameters: &[Parameter]) -> Self {
        self.query.extend(parameters);
        self
    }

    /// It takes JSON.
    pub(crate) fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(Body::Json(|generator| generator.subschema_for::<T>()));
        self
    }

    /// It takes a form with this member, and perhaps these.
    pub(crate) const fn takes_form(
        mut self,
        required: &'static str,
        optional: &'static [&'static str],
    ) -> Self {
        self.body = Some(Body::Form { required, optional });
        self
    }

    /// It answers with JSON.
    pub(crate) fn answers<T: JsonSchema>(mut self, status: u16) -> Self {
        self.answers.push((status, "application/json", Some(|generator| generator.subschema_for::<T>())));
        self
    }

    /// It answers with a text of another type, or with nothing where that is empty.
    pub(crate) fn answers_as(mut self, status: u16, media_type: &'static str) -> Self {
        self.answers.push((status, media_type, None));
        self
    }

    /// It refuses with these codes, beside those that follow from what else is said of it.
    pub(crate) fn refuses(mut self, codes: &[ErrorCode]) -> Self {
        self.refuses.extend(codes);
        self
    }

    /// Its answer has the version of what it shows, as its `ETag`.
    pub(crate) fn tagged(self) -> Self {
        self.with(Habit::Tagged)
    }

    /// A secret is tried by it: without an edge it is refused unless clients may come directly.
    pub(crate) fn tried(self) -> Self {
        self.with(Habit::Tried)
    }

    /// It makes something, and may be repeated with the same `Idempotency-Key`.
    pub(crate) fn repeatable(self) -> Self {
        self.with(Habit::Repeatable)
    }

    /// It changes something that has a version: `If-Match` says which.
    pub(crate) fn versioned(self) -> Self {
        self.with(Habit::Versioned)
    }

    /// Below another path.
    pub(crate) fn below(mut self, base: &str) -> Self {
        self.path.insert_str(0, base);
        self
    }

    /// Whether a secret is tried by it.
    pub(crate) fn is_tried(&self) -> bool {
        self.has(Habit::Tried)
    }

    fn with(mut self, habit: Habit) -> Self {
        self.habits.push(habit);
        self
    }

    /// Whether it is so.
    pub(super) fn has(&self, habit: Habit) -> bool {
        self.habits.contains(&habit)
    }

    /// What kind of act of administration it is, where it is one.
    pub(crate) const fn administers(&self) -> Option<Act> {
        match self.access {
            Access::Merchant(act) | Access::Platform(act) => Some(act),
            _ => None,
        }
    }

    /// Every status that it is done with, every code that it refuses with, and whether it shows a version: for a test.
    #[cfg(test)]
    pub(crate) fn promised(&self) -> super::promised::Promised {
        let statuses = self.answers.iter().map(|(status, ..)| *status).collect();
        super::promised::Promised {
            id: self.id,
            statuses,
            codes: self.codes(),
            is_tagged: self.has(Habit::Tagged),
        }
    }

    /// Its route.
    pub(crate) fn route(self) -> MethodRouter<Arc<App>> {
        self.route
    }
}
