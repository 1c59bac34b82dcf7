//! What the OpenAPI document says of an operation, and the document of all of them.

use super::operation::{Access, Body, Habit, Operation};
use margrave_shared::error::{ErrorCode, Retry};
use margrave_shared::error_body::{OAuthError, PROBLEM_JSON, Problem};
use margrave_shared::wire::token::FACTORS_GRANT;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What may be exchanged for tokens.
const GRANTS: [&str; 3] = ["client_credentials", "refresh_token", FACTORS_GRANT];

impl Operation {
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
        if self.has(Habit::Versioned) {
            let what = "The ETag of what is changed.";
            parameters.push(json!({
                "name": "If-Match", "in": "header", "required": true, "description": what, "schema": text,
            }));
        }
        if self.has(Habit::Repeatable) {
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
        if let Some(right) = self.right {
            members.insert("x-right".to_owned(), right.into());
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
        let mut responses = self.done(generator);
        responses.extend(self.refused(generator));
        members.insert("responses".to_owned(), responses.into());
        operation
    }

    /// Its answers where it is done.
    fn done(&self, generator: &mut SchemaGenerator) -> Map<String, Value> {
        let mut responses = Map::new();
        for (status, media_type, shape) in &self.answers {
            let mut response = Map::from_iter([("description".to_owned(), json!("Done."))]);
            if !media_type.is_empty() {
                let schema = shape.map_or_else(|| json!({}), |shape| shape(generator).to_value());
                response.insert("content".to_owned(), json!({ *media_type: { "schema": schema } }));
            }
            if self.has(Habit::Tagged) {
                let description = "The version of what is shown.";
                let header =
                    json!({ "description": description, "required": true, "schema": { "type": "string" } });
                response.insert("headers".to_owned(), json!({ "ETag": header }));
            }
            responses.insert(status.to_string(), response.into());
        }
        responses
    }

    /// Its refusals, by status. What a stranger's bytes or our own faults lead to is every route's and stands in `docs/errors.md`.
    fn refused(&self, generator: &mut SchemaGenerator) -> Map<String, Value> {
        let (media_type, schema) = if self.path.starts_with("/oauth/") {
            ("application/json", generator.subschema_for::<OAuthError>())
        } else {
            (PROBLEM_JSON, generator.subschema_for::<Problem>())
        };
        let mut by_status: BTreeMap<u16, BTreeSet<&str>> = BTreeMap::new();
        let mut passing = BTreeSet::new();
        for code in self.codes() {
            by_status.entry(code.status()).or_default().insert(code.as_str());
            if code.retry() == Retry::Later {
                passing.insert(code.status());
            }
        }
        let response = |(status, codes): (u16, BTreeSet<&str>)| {
            let codes: Vec<_> = codes.into_iter().map(|code| format!("`{code}`")).collect();
            let mut response = json!({
                "description": format!("Refused: {}.", codes.join(", ")),
                "content": { media_type: { "schema": schema } },
            });
            if let (true, Some(response)) = (passing.contains(&status), response.as_object_mut()) {
                let description = "After how many seconds it may be tried again.";
                let schema = json!({ "type": "integer" });
                let header = json!({ "description": description, "required": true, "schema": schema });
                response.insert("headers".to_owned(), json!({ "Retry-After": header }));
            }
            (status.to_string(), response)
        };
        by_status.into_iter().map(response).collect()
    }

    /// Every code that it refuses with.
    pub(super) fn codes(&self) -> Vec<ErrorCode> {
        use ErrorCode as E;
        // A body may be too large before anything is known of whose it is.
        let mut codes = vec![E::InvalidRequest, E::PayloadTooLarge, E::StateUnavailable, E::Overloaded];
        // Of a client that is none: an edge whose signature is not right.
        let bearer = [E::AmbiguousRequest, E::InvalidToken, E::SessionEnded, E::InvalidClient];
        match self.access {
            Access::Anybody => {}
            Access::Client => codes.push(E::InvalidClient),
            Access::Edge => codes.extend([E::InvalidClient, E::EdgeRequired]),
            Access::Token => codes.extend(bearer),
            Access::Person | Access::Holder(_) | Access::Merchant(_) | Access::Platform(_) => {
                codes.extend(bearer);
                codes.push(E::InsufficientPermission);
            }
        }
        if self.path.contains('{') {
            codes.push(E::NotFound);
        }
        match self.body {
            Some(Body::Json(_)) => codes.extend([E::UnsupportedMediaType, E::InvalidField]),
            Some(Body::Form { .. }) => codes.push(E::UnsupportedMediaType),
            None => {}
        }
        if self.has(Habit::Versioned) {
            codes.extend([E::PreconditionFailed, E::PreconditionRequired]);
        }
        if self.has(Habit::Repeatable) {
            codes.extend([E::Conflict, E::IdempotencyKeyReused]);
        }
        if self.has(Habit::Tried) {
            codes.extend([E::InvalidClient, E::EdgeRequired, E::TooManyAttempts]);
        }
        codes.extend(&self.refuses);
        codes
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
