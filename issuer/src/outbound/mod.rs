//! The one way out: every call that the issuer makes goes through here. Bounded in time and size, without redirects and
//! without the environment's proxies.

use crate::failure::Failure;
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error as _;
use std::time::Duration;

/// How long a call may take, from its name's resolution to the answer's end.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How much of an answer is read. A connection serves again only after its answer was read.
const MAX_ANSWER: usize = 64 * 1024;

/// Makes calls.
#[derive(Debug, Clone)]
pub(crate) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Its headers.
    pub(crate) headers: HeaderMap,
}

/// A call without an answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer: {0}")]
pub(crate) struct NoAnswer(String);

impl Fetcher {
    /// One for the whole process: it keeps connections.
    ///
    /// # Errors
    /// [`Failure::Internal`] when there is no TLS.
    pub(crate) fn new() -> Result<Self, Failure> {
        let connector = HttpsConnectorBuilder::new();
        let connector = match connector.with_provider_and_native_roots(ring::default_provider()) {
            Ok(connector) => connector,
            Err(error) => {
                // Plain http:// to this machine works all the same.
                tracing::warn!(%error, "https:// cannot be called: install the system's root certificates (`ca-certificates`)");
                let none = ClientConfig::builder_with_provider(ring::default_provider().into())
                    .with_safe_default_protocol_versions()
                    .map_err(|_| Failure::Internal("calls cannot be made: there is no TLS"))?
                    .with_root_certificates(RootCertStore::empty())
                    .with_no_client_auth();
                HttpsConnectorBuilder::new().with_tls_config(none)
            }
        };
        let connector = connector.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Ok(Self { client })
    }

    /// Posts a body. The answer's body is dropped.
    ///
    /// # Errors
    /// [`NoAnswer`], without the URL, which may hold secrets.
    pub(crate) async fn post(
        &self,
        url: &str,
        media_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Result<Answer, NoAnswer> {
        let request = Request::post(url)
            .header(header::CONTENT_TYPE, media_type)
            .body(Full::new(body.into()))
            .map_err(|error| NoAnswer(error.to_string()))?;
        let call = async {
            let response = self.client.request(request).await.map_err(|error| {
                let cause = error.source().map(ToString::to_string);
                NoAnswer(cause.unwrap_or_else(|| error.to_string()))
            })?;
            let (head, body) = response.into_parts();
            let _ = Limited::new(body, MAX_ANSWER).collect().await;
            Ok(Answer { status: head.status.as_u16(), headers: head.headers })
        };
        let late = |_| NoAnswer(format!("it took longer than {} s", TIMEOUT.as_secs()));
        tokio::time::timeout(TIMEOUT, call).await.map_err(late)?
    }
}

/// Whether calls may go to a URL: `https://`, or `http://` to this very machine.
pub(crate) fn may_be_called(url: &str) -> bool {
    let rest = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => rest,
        (None, Some(rest)) => {
            let authority = rest.split('/').next().unwrap_or("");
            let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
            if !matches!(host, "127.0.0.1" | "[::1]" | "localhost") {
                return false;
            }
            rest
        }
        _ => return false,
    };
    let authority = rest.split('/').next().unwrap_or("");
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'@' | b'?' | b'#' | b'\\');
    !authority.is_empty() && url.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::may_be_called;

    #[test]
    fn calls_go_over_tls_or_stay_on_the_machine() {
        for good in [
            "https://edge.example.org/.margrave/events",
            "https://edge.example.org:8443/x",
            "http://127.0.0.1:8080/.margrave/events",
            "http://[::1]:8080/x",
            "http://localhost/x",
        ] {
            assert!(may_be_called(good), "{good}");
        }
        for bad in [
            "http://edge.example.org/x",
            "http://127.0.0.1.example.org/x",
            "http://127.0.0.1@example.org/x",
            "https://user@example.org/x",
            "https:///x",
            "https://example.org/x?y",
            "https://example.org/x y",
            "ftp://example.org/",
            "example.org",
            "",
        ] {
            assert!(!may_be_called(bad), "{bad}");
        }
    }
}
