//! Requests and answers.

use margrave_shared::base64;
use serde_json::Value;
use std::sync::LazyLock;
use std::time::Duration;

static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
});

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The answer, if its status is this one.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    /// A text of the body.
    pub(crate) fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.body)).to_owned()
    }

    /// The public error code, in either shape.
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        json["code"].as_str().or(json["error"].as_str()).unwrap_or("").to_owned()
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// HTTP Basic.
pub(crate) fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", base64::encode_standard(format!("{id}:{secret}").as_bytes()))
}

/// A form's body.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    let encode = |text: &str| {
        text.bytes()
            .map(|b| {
                if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_') {
                    char::from(b).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect::<String>()
    };
    pairs.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect::<Vec<_>>().join("&")
}

/// A client at another of this machine's addresses.
pub(crate) struct Source(reqwest::Client);

impl Source {
    /// At this one, such as `127.0.0.2`.
    pub(crate) fn at(address: &str) -> Self {
        let client = reqwest::Client::builder().local_address(address.parse::<std::net::IpAddr>().unwrap());
        Self(client.timeout(Duration::from_secs(30)).build().unwrap())
    }

    /// GET.
    pub(crate) async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        run(self.0.get(url), headers).await
    }

    /// POST of JSON.
    pub(crate) async fn post_json(&self, url: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let request = self.0.post(url).header("content-type", "application/json").body(body.to_string());
        run(request, headers).await
    }
}

async fn run(request: reqwest::RequestBuilder, headers: &[(&str, &str)]) -> Answer {
    let mut request = request;
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .map(|(n, v)| (n.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
        .collect();
    Answer { status, headers, body: response.text().await.unwrap() }
}

/// GET.
pub(crate) async fn get(url: &str, headers: &[(&str, &str)]) -> Answer {
    run(CLIENT.get(url), headers).await
}

/// POST of a form.
pub(crate) async fn post_form(url: &str, headers: &[(&str, &str)], pairs: &[(&str, &str)]) -> Answer {
    post_text(url, headers, "application/x-www-form-urlencoded", form(pairs)).await
}

/// POST of a text.
pub(crate) async fn post_text(url: &str, headers: &[(&str, &str)], media_type: &str, body: String) -> Answer {
    run(CLIENT.post(url).header("content-type", media_type).body(body), headers).await
}

/// POST of JSON.
pub(crate) async fn post_json(url: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    post_text(url, headers, "application/json", body.to_string()).await
}

/// Any method, with JSON where there is a body.
pub(crate) async fn send(method: &str, url: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
    let mut request = CLIENT.request(method.parse().unwrap(), url);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    run(request, headers).await
}

/// A request as raw bytes, for what no client library would send; gives the first line of the answer.
pub(crate) async fn raw(base: &str, request: &str) -> String {
    raw_answer(base, request).await.lines().next().unwrap_or("").to_owned()
}

/// The same; gives the answer as far as it comes without a pause.
pub(crate) async fn raw_answer(base: &str, request: &str) -> String {
    String::from_utf8_lossy(&raw_bytes(base, request).await).into_owned()
}

/// The same, as bytes.
pub(crate) async fn raw_bytes(base: &str, request: &str) -> Vec<u8> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let authority = base.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    stream.write_all(request.replace("HOST", authority).as_bytes()).await.unwrap();
    let (mut answer, mut bytes) = (Vec::new(), vec![0; 4096]);
    let mut patience = Duration::from_secs(10);
    while let Ok(read) = tokio::time::timeout(patience, stream.read(&mut bytes)).await {
        match read {
            Ok(length) if length > 0 => answer.extend_from_slice(&bytes[..length]),
            _ => break,
        }
        patience = Duration::from_millis(100);
    }
    answer
}

/// Runs futures at once.
pub(crate) async fn together<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut done: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, slot) in futures.iter_mut().zip(&mut done) {
            if slot.is_none() {
                match std::pin::Pin::new(future).poll(context) {
                    std::task::Poll::Ready(output) => *slot = Some(output),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    done.into_iter().flatten().collect()
}
