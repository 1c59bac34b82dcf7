//! One operation of the API: its route, and what the OpenAPI document says of it. Routes are made from these rows, so that nothing is
//! served that the document does not name.

use crate::app::App;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use margrave_shared::error_body::{OAuthError, PROBLEM_JSON, Problem};
use margrave_shared::wire::token::FACTORS_GRANT;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};
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

/// What may be exchanged for tokens.
const GRANTS: [&str; 3] = ["client_credentials", "refresh_token", FACTORS_GRANT];

/// A parameter of the query: its name, its JSON Schema's type, what it is.
pub(crate) type Parameter = (&'static str, &'static str, &'static str);

type Shape = fn(&mut SchemaGenerator) -> Schema;

#[derive(Clone, Copy)]
enum Body {
    Json(Shape),
    Form { required: &'static str, optional: &'static [&'static str] },
}

/// One operation.
pub(crate) struct Operation {
    verb: &'static str,
    /// Its path, below the base of all of them.
    pub(crate) path: String,
    route: MethodRouter<Arc<App>>,
    id: &'static str,
    summary: &'static str,
    access: Access,
    query: Vec<Parameter>,
    body: Option<Body>,
    answers: Vec<(u16, &'static str, Option<Shape>)>,
    is_tried: bool,
    is_repeatable: bool,
    is_versioned: bool,
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
            query: Vec::new(),
            body: None,
            answers: Vec::new(),
            is_tried: false,
            is_repeatable: false,
            is_versioned: false,
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

    /// A secret is tried by it: without an edge it is refused unless clients may come directly.
    pub(crate) const fn tried(mut self) -> Self {
        self.is_tried = true;
        self
    }

    /// It makes something, and may be repeated with the same `Idempotency-Key`.
    pub(crate) const fn repeatable(mut self) -> Self {
        self.is_repeatable = true;
        self
    }

    /// It changes something that has a version: `If-Match` says which.
    pub(crate) const fn versioned(mut self) -> Self {
        self.is_versioned = true;
        self
    }

    /// Below another path.
    pub(crate) fn below(mut self, base: &str) -> Self {
        self.path.insert_str(0, base);
        self
    }

    /// Whether a secret is tried by it.
    pub(crate) const fn is_tried(&self) -> bool {
        self.is_tried
    }

    /// What kind of act of administration it is, where it is one.
    pub(crate) const fn administers(&self) -> Option<Act> {
        match self.access {
            Access::Merchant(act) | Access::Platform(act) => Some(act),
            _ => None,
        }
    }

    /// Its route.
    pub(crate) fn route(self) -> MethodRouter<Arc<App>> {
        self.route
    }

    fn parameters(&self) -> Vec<Value> {
        let in_path = self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let text = json!({ "type": "string" });
        let mut parameters: Vec<Value> = in_path
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": text }))
            .collect();
        for (name, kind, what) in &self.query {
            let schema = match (*kind, *name) {
                (_, "limit") => json!({ "type": "integer", "minimum": 1, "maximum": 200 }),
                (kind, _) => json!({ "type": kind }),
            };
            parameters.push(json!({ "name": name, "in": "query", "description": what, "schema": schema }));
        }
        if self.is_versioned {
            let what = "The ETag of what is changed.";
            parameters.push(json!({
                "name": "If-Match", "in": "header", "required": true, "description": what, "schema": text,
            }));
        }
        if self.is_repeatable {
            let what = "A request that comes again with the same key gets the same answer for a day.";
            let schema = json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" });
            let name = "Idempotency-Key";
            parameters.push(json!({ "name": name, "in": "header", "description": what, "schema": schema }));
        }
        parameters
    }

    fn document(&self, generator: &mut SchemaGenerator) -> Value {
        let mut operation = json!({
            "operationId": self.id,
            "summary": self.summary,
            "parameters": self.parameters(),
        });
        let (scheme, permission, realm) = match self.access {
            Access::Anybody => (None, None, None),
            Access::Client => (Some("client"), None, None),
            Access::Token => (Some("token"), None, None),
            Access::Person => (Some("token"), None, Some("person")),
            Access::Holder(permission) => (Some("token"), Some(permission.to_owned()), None),
            Access::Edge => (Some("edge"), None, None),
            Access::Merchant(act) => (Some("token"), Some(format!("admin:{}", act.name())), Some("merchant")),
            Access::Platform(act) => {
                (Some("token"), Some(format!("platform:{}", act.name())), Some("platform"))
            }
        };
        let Some(members) = operation.as_object_mut() else { return operation };
        members.insert("security".to_owned(), scheme.map_or(json!([]), |scheme| json!([{ scheme: [] }])));
        if let Some(permission) = permission {
            members.insert("x-permission".to_owned(), permission.into());
        }
        if let Some(realm) = realm {
            members.insert("x-realm".to_owned(), realm.into());
        }
        if let Some(body) = self.body {
            let content = match body {
                Body::Json(shape) => json!({ "application/json": { "schema": shape(generator) } }),
                Body::Form { required, optional } => {
                    let schema_of = |name: &str| match name {
                        "grant_type" => json!({ "type": "string", "enum": GRANTS }),
                        _ => json!({ "type": "string" }),
                    };
                    let members: Map<String, Value> = std::iter::once(&required)
                        .chain(optional)
                        .map(|name| ((*name).to_owned(), schema_of(name)))
                        .collect();
                    let schema = json!({ "type": "object", "properties": members, "required": [required] });
                    json!({ "application/x-www-form-urlencoded": { "schema": schema } })
                }
            };
            members.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
        }
        let mut responses = Map::new();
        for (status, media_type, shape) in &self.answers {
            let mut response = json!({ "description": "Done." });
            if let (Some(response), false) = (response.as_object_mut(), media_type.is_empty()) {
                let schema = shape.map_or_else(|| json!({}), |shape| shape(generator).to_value());
                response.insert("content".to_owned(), json!({ *media_type: { "schema": schema } }));
            }
            responses.insert(status.to_string(), response);
        }
        let refused = if self.path.starts_with("/oauth/") {
            json!({ "application/json": { "schema": generator.subschema_for::<OAuthError>() } })
        } else {
            json!({ PROBLEM_JSON: { "schema": generator.subschema_for::<Problem>() } })
        };
        let refused =
            json!({ "description": "Refused: `docs/errors.md` names every code.", "content": refused });
        responses.insert("default".to_owned(), refused);
        members.insert("responses".to_owned(), responses.into());
        operation
    }
}

/// The OpenAPI 3.1 document of all operations. Its version is the API's, not the program's (L1).
pub(crate) fn document(operations: &[Operation]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = SchemaGenerator::new(settings);
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let entry = paths.entry(operation.path.clone()).or_insert_with(|| json!({}));
        if let Some(entry) = entry.as_object_mut() {
            entry.insert(operation.verb.to_owned(), operation.document(&mut generator));
        }
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Margrave, the issuer",
            "version": "1",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "client": { "type": "http", "scheme": "basic" },
                "edge": {
                    "type": "apiKey", "in": "header", "name": "Signature",
                    "description": "An HTTP message signature (RFC 9421) with a registered edge's Ed25519 key.",
                },
            },
        },
    })
}
