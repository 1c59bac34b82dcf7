//! Notices over several processes and with mail servers of every mood, on both databases.

use super::send::send_due;
use super::{Mailer, Notice, count_waiting, tell_operators};
use crate::app::App;
use crate::config::MailConfig;
use crate::http::context::Caller;
use crate::merchants::{MerchantSettings, NewMerchant, create_merchant, reset_platform};
use crate::storage::Db;
use crate::storage::testing::{dump, on_both_databases, sqlite};
use crate::sweeper::sweep;
use crate::testing::World;
use margrave_shared::id::{AccountId, KeyId};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

/// A mail server that answers a recipient by the first letter of the address: `a` is there, `l` is to come again later, anything else is
/// unknown. Gives its URL and what it was sent.
async fn server() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let mails = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&mails);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(BufReader::new(stream), Arc::clone(&taken)));
        }
    });
    (url, mails)
}

async fn serve(mut stream: BufReader<tokio::net::TcpStream>, taken: Arc<Mutex<Vec<String>>>) {
    let mut answer = "220 here\r\n".to_owned();
    loop {
        let mut line = String::new();
        stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let line = line.to_ascii_lowercase();
        answer = match line.split([' ', '\r']).next().unwrap() {
            "rcpt" if line.contains("<a") => "250 good\r\n".to_owned(),
            "rcpt" if line.contains("<l") => "451 later\r\n".to_owned(),
            "rcpt" => "550 nobody\r\n".to_owned(),
            "data" => {
                stream.get_mut().write_all(b"354 go on\r\n").await.unwrap();
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") {
                    stream.read_line(&mut mail).await.unwrap();
                }
                taken.lock().unwrap().push(mail);
                "250 taken\r\n".to_owned()
            }
            "quit" => return,
            _ => "250 good\r\n".to_owned(),
        };
    }
}

fn mailer(url: &str, operators: &[&str]) -> Mailer {
    let config = MailConfig {
        smtp_url: Some(url.to_owned()),
        from: Some("Margrave <margrave@issuer.test>".to_owned()),
        operators: operators.iter().map(|one| format!("{one}@ops.test")).collect(),
    };
    Mailer::new(&config).unwrap().unwrap()
}

async fn waiting(app: &App) -> i64 {
    count_waiting(&mut app.db.read().await.unwrap()).await.unwrap()
}

async fn tell(app: &App, world: &World) {
    let mut tx = app.db.begin().await.unwrap();
    let key = KeyId::from_random(app.entropy.bytes());
    let notice =
        Notice::PlatformReset { merchant: &world.merchant.id, key: &key, revoked: 2, reason: "a canary" };
    tell_operators(app, &mut tx, notice, app.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn whoever_runs_the_system_is_told_once(db: Db) {
    let world = World::new(db).await;
    let processes = [Arc::clone(&world.app), world.another_process().await, world.another_process().await];
    let (url, mails) = server().await;
    let nobody = mailer(&url, &[]);
    for _ in 0..5 {
        tell(&world.app, &world).await;
    }
    assert!(!dump(&world.app.db).await.contains("canary"), "what waits is sealed");
    assert_eq!(send_due(&world.app, &nobody).await.unwrap(), 0);
    assert_eq!(waiting(&world.app).await, 5, "who has nobody to tell leaves it to others");
    let senders: Vec<_> = (0..12)
        .map(|number| {
            let (app, mailer) = (Arc::clone(&processes[number % 3]), mailer(&url, &["anna", "abel"]));
            tokio::spawn(async move { send_due(&app, &mailer).await.unwrap() })
        })
        .collect();
    let mut sent = 0;
    for sender in senders {
        sent += sender.await.unwrap();
    }
    assert_eq!((sent, waiting(&world.app).await), (5, 0));
    let mails = mails.lock().unwrap().clone();
    assert_eq!(mails.len(), 10);
    let mail = &mails[0];
    for text in ["From: Margrave <margrave@issuer.test>", "Reason given: a canary", "@issuer.test>"] {
        assert!(mail.contains(text), "{text} in {mail}");
    }
}
on_both_databases!(once, super::whoever_runs_the_system_is_told_once);

async fn what_cannot_be_sent_is_tried_again_for_a_day(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let (url, mails) = server().await;
    tell(app, &world).await;
    // A server that is not there, and one that is busy: not again at once, but later.
    for (url, who) in [("smtp://127.0.0.1:1", "anna"), (url.as_str(), "later")] {
        assert_eq!(send_due(app, &mailer(url, &[who])).await.unwrap(), 0);
        assert_eq!(send_due(app, &mailer(url, &["anna"])).await.unwrap(), 0, "its turn has not come");
        assert_eq!(waiting(app).await, 1);
        world.pass_s(120);
    }
    // Who is unknown keeps nobody else from it.
    assert_eq!(send_due(app, &mailer(&url, &["unknown", "anna"])).await.unwrap(), 1);
    assert_eq!(mails.lock().unwrap().len(), 1);
    assert_eq!(waiting(app).await, 0);
    // Where all are refused, whatever the cause: it may be mended. What is about the same thing waits once.
    tell(app, &world).await;
    tell(app, &world).await;
    assert_eq!(waiting(app).await, 2, "another key is another thing");
    for _ in 0..2 {
        let (id, by) = (&world.merchant.id, "key:k");
        let account = AccountId::parse("somebody").unwrap();
        let notice = Notice::AdministratorReset { account: &account, merchant: id, by, delay_s: 0 };
        let mut tx = app.db.begin().await.unwrap();
        tell_operators(app, &mut tx, notice, app.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(waiting(app).await, 3);
    assert_eq!(send_due(app, &mailer(&url, &["unknown"])).await.unwrap(), 0);
    assert_eq!(waiting(app).await, 3);
    world.pass_s(120);
    mails.lock().unwrap().clear();
    assert_eq!(send_due(app, &mailer(&url, &["anna"])).await.unwrap(), 3);
    let subjects: Vec<bool> = mails.lock().unwrap().iter().map(|mail| mail.contains("break-glass")).collect();
    assert_eq!(subjects, [true, true, false], "the break-glass first");
    // And after a day.
    tell(app, &world).await;
    world.pass_s(86_400);
    assert_eq!(send_due(app, &mailer(&url, &["anna"])).await.unwrap(), 0);
    sweep(app, app.clock.now().plus_seconds(3601)).await.unwrap();
    assert_eq!(waiting(app).await, 0);
}
on_both_databases!(again, super::what_cannot_be_sent_is_tried_again_for_a_day);

/// A server that takes connections and says nothing holds nobody up.
async fn a_server_that_is_silent_holds_nothing_up(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let held = tokio::spawn(async move {
        let mut streams = Vec::new();
        loop {
            streams.push(listener.accept().await.unwrap());
        }
    });
    tell(app, &world).await;
    let mut silent = mailer(&url, &["anna", "abel", "ada"]);
    silent.timeout = Duration::from_millis(200);
    let bound = Duration::from_secs(10);
    tokio::time::timeout(bound, silent.check()).await.unwrap().unwrap_err();
    assert_eq!(tokio::time::timeout(bound, send_due(app, &silent)).await.unwrap().unwrap(), 0);
    assert_eq!(waiting(app).await, 1);
    held.abort();
}

#[tokio::test]
async fn silent() {
    a_server_that_is_silent_holds_nothing_up(sqlite().await).await;
}

async fn the_break_glass_is_told_of_whatever_the_shell_knows_of_mail(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let new = NewMerchant {
        name: "Platform".to_owned(),
        platform: true,
        services: Vec::new(),
        settings: MerchantSettings::default(),
    };
    create_merchant(app, new, "operator", &Caller::operator()).await.unwrap();
    assert!(app.mailer.is_none());
    let reset = reset_platform(app, None, false, "locked out", &Caller::operator()).await.unwrap();
    let (url, mails) = server().await;
    assert_eq!(send_due(app, &mailer(&url, &["anna"])).await.unwrap(), 1);
    let mail = mails.lock().unwrap().concat();
    assert!(mail.contains("break-glass") && mail.contains(reset.key.key_id.as_str()), "{mail}");
    assert!(!mail.contains(reset.key.secret.expose()));
}
on_both_databases!(break_glass, super::the_break_glass_is_told_of_whatever_the_shell_knows_of_mail);
