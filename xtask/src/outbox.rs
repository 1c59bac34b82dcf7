//! The development outbox: a mail server that keeps what it is given, and shows it as JSON.

use crate::Outcome;
use crate::origin::{answer, serve};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use mail_parser::{Address, MessageParser};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

type Messages = Arc<Mutex<Vec<Value>>>;

/// The most bytes of a mail that are kept.
const MOST_BYTES: usize = 1 << 20;

/// Starts it: mail comes to one port, and is read at the other, the oldest first: `[{"kind":"mail","from","to","subject","text"}]`.
pub(crate) async fn start(port: u16, mail_port: u16) -> Outcome<()> {
    let messages = Messages::default();
    let address = SocketAddr::from(([127, 0, 0, 1], mail_port));
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("the outbox cannot take mail on {address}: {error}"))?;
    tokio::spawn(take_mail(listener, Arc::clone(&messages)));
    let router = Router::new().fallback(get(list)).with_state(messages);
    serve(port, router, "outbox").await
}

async fn list(State(messages): State<Messages>) -> Response {
    let list = messages.lock().unwrap_or_else(PoisonError::into_inner).clone();
    answer(StatusCode::OK, &Value::Array(list))
}

async fn take_mail(listener: TcpListener, messages: Messages) {
    while let Ok((stream, _)) = listener.accept().await {
        let messages = Arc::clone(&messages);
        tokio::spawn(async move {
            // Who goes away in the middle has sent nothing.
            let _ = converse(BufReader::new(stream), &messages).await;
        });
    }
}

/// As much of SMTP (RFC 5321) as one client on this machine needs.
async fn converse(mut stream: BufReader<TcpStream>, messages: &Messages) -> std::io::Result<()> {
    stream.get_mut().write_all(b"220 outbox\r\n").await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let verb = line.split([' ', '\r', '\n']).next().unwrap_or("").to_ascii_uppercase();
        let answer: &[u8] = match verb.as_str() {
            "DATA" => {
                stream.get_mut().write_all(b"354 end with a dot\r\n").await?;
                let mail = read_mail(&mut stream).await?;
                messages.lock().unwrap_or_else(PoisonError::into_inner).push(shown(&mail));
                b"250 kept\r\n"
            }
            "QUIT" => {
                stream.get_mut().write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => b"250 ok\r\n",
        };
        stream.get_mut().write_all(answer).await?;
    }
}

async fn read_mail(stream: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut mail = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(mail);
        }
        // A dot at the beginning was doubled (RFC 5321 §4.5.2).
        let line = line.strip_prefix(b".").unwrap_or(&line);
        if mail.len() + line.len() <= MOST_BYTES {
            mail.extend_from_slice(line);
        }
    }
}

fn shown(mail: &[u8]) -> Value {
    let Some(message) = MessageParser::default().parse(mail) else {
        return json!({ "kind": "mail", "text": String::from_utf8_lossy(mail) });
    };
    let addresses = |address: Option<&Address<'_>>| -> Vec<String> {
        let each = address.into_iter().flat_map(Address::iter);
        each.filter_map(|one| one.address().map(str::to_owned)).collect()
    };
    json!({
        "kind": "mail",
        "from": addresses(message.from()).pop(),
        "to": addresses(message.to()),
        "subject": message.subject(),
        "text": message.body_text(0),
    })
}
