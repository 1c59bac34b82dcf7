//! The demo's merchant, keys, application, account and edge: made once per state folder, with fresh credentials.

use crate::Outcome;
use crate::issuer::Issuer;
use crate::progress::step;
use crate::secrets::{Secrets, random, write_private};
use crate::workerd::AUDIENCE;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// The demo's credentials.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Demo {
    /// The merchant. It runs the demo's platform as well, so that one token can try everything.
    pub(crate) merchant_id: String,
    /// A key with `read write register`.
    pub(crate) key_id: String,
    /// Its secret.
    pub(crate) key_secret: String,
    /// The first-party application.
    pub(crate) client_id: String,
    /// The account's username.
    pub(crate) username: String,
    /// Its password.
    pub(crate) password: String,
    /// The administrator's key.
    pub(crate) admin_key_id: String,
    /// Its secret.
    pub(crate) admin_key_secret: String,
    /// The edge's id.
    pub(crate) edge_id: String,
}

impl Demo {
    /// Reads the demo of a state folder, or makes it.
    ///
    /// In a database that others use too, names are made unique by a random ending.
    pub(crate) async fn ensure(
        state: &Path,
        issuer: &Issuer,
        secrets: &Secrets,
        shared: bool,
    ) -> Outcome<Self> {
        let path = state.join("demo.json");
        if let Ok(text) = std::fs::read_to_string(&path) {
            return serde_json::from_str(&text)
                .map_err(|error| format!("{} is broken ({error}). Start with --fresh", path.display()));
        }
        step("making the demo's merchant, keys, application and account");
        let ending = if shared { format!("-{}", random::<6>()?) } else { String::new() };
        let demo = Self::make(issuer, secrets, &ending).await?;
        write_private(&path, &serde_json::to_string_pretty(&demo).unwrap_or_default())?;
        Ok(demo)
    }

    async fn make(issuer: &Issuer, secrets: &Secrets, ending: &str) -> Outcome<Self> {
        let service = format!("{AUDIENCE}=read,write,security,register,admin:read,admin:write");
        let admin = issuer.ask(&["admin", "create", "Demo", "--service", &service], None).await?;
        let merchant_id = text(&admin, "merchant_id")?;
        let permissions = "read,write,register";
        let key =
            issuer.ask(&["merchants", "add-key", &merchant_id, "--permissions", permissions], None).await?;
        let client = issuer.ask(&["applications", "create", &merchant_id, "Demo application"], None).await?;
        let (username, password) = (format!("demo{ending}"), random::<18>()?);
        issuer.ask(&["accounts", "create", &merchant_id, &username], Some(&password)).await?;
        let public_key = secrets.edge_public_key()?;
        // The option and its value are one word: a key may begin with a dash.
        let key_option = format!("--public-key={public_key}");
        let edge = issuer
            .ask(
                &["edges", "add", &format!("demo-edge{ending}"), &key_option, "--merchants", &merchant_id],
                None,
            )
            .await?;
        Ok(Self {
            key_id: text(&key, "key_id")?,
            key_secret: text(&key, "secret")?,
            client_id: text(&client, "client_id")?,
            username,
            password,
            admin_key_id: text(&admin, "key_id")?,
            admin_key_secret: text(&admin, "secret")?,
            edge_id: text(&edge, "edge_id")?,
            merchant_id,
        })
    }
}

fn text(value: &Value, name: &str) -> Outcome<String> {
    value
        .get(name)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| format!("`margrave` did not answer with `{name}`"))
}
