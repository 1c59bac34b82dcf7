//! A host as `deploy/` describes it moves to another release under load, and nobody is refused: nginx with TLS, two gates, the
//! state process and the issuer on PostgreSQL, started by the command lines of the units that ship.
//!
//! One file, though a long one: two thirds of it lay out the host and put load on it, for this one test and no other.

#![expect(clippy::disallowed_methods, reason = "an upgrade takes its time")]

use crate::deployment::{Deployment, authority, root, workerd};
use crate::http::form;
use crate::supervisor::Supervisor;
use crate::system::{FACTORS, System, free_address, new_database, up_with};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

struct Host {
    folder: PathBuf,
    supervisor: Supervisor,
    nginx: Option<Child>,
    plain: String,
    secure: String,
    environment: Vec<(&'static str, String)>,
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(nginx) = &mut self.nginx {
            // Its workers go with it only if it is asked.
            let _ = Command::new("kill").args(["-TERM", &nginx.id().to_string()]).status();
            let _ = nginx.wait();
        }
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Host {
    /// Lays out two releases, which differ in nothing but their place.
    fn new(system: &System) -> Self {
        let laid_out =
            Deployment::new(system, "[state]\nwait_ms = 2000\n[limits]\naccount_attempts = 1000\n");
        let folder = laid_out.folder.join("host");
        for release in ["release-1", "release-2"] {
            let release = folder.join(release);
            std::fs::create_dir_all(release.join("edge")).unwrap();
            for entry in std::fs::read_dir(&laid_out.folder).unwrap().flatten().filter(|e| e.path().is_file())
            {
                std::fs::copy(entry.path(), release.join("edge").join(entry.file_name())).unwrap();
            }
            let toml = std::fs::read_to_string(release.join("edge/edge.toml")).unwrap();
            let toml = toml.replace("client_address = \"peer\"", "client_address = \"forwarded:1\"");
            std::fs::write(release.join("edge/edge.toml"), toml).unwrap();
            std::os::unix::fs::symlink(workerd(), release.join("workerd")).unwrap();
            std::os::unix::fs::symlink(system.program(), release.join("margrave")).unwrap();
            std::os::unix::fs::symlink(root().join("deploy/backup"), release.join("backup")).unwrap();
        }
        std::os::unix::fs::symlink(folder.join("release-1"), folder.join("current")).unwrap();
        std::fs::create_dir_all(folder.join("lib/objects")).unwrap();
        std::fs::create_dir_all(folder.join("run")).unwrap();
        let supervisor = Supervisor::new(&folder);
        let mut environment: Vec<_> = laid_out.secrets.clone().into_iter().collect();
        environment.push(("ORIGIN_ADDRESS", authority(system.fact("origin"))));
        let (plain, secure) = (free_address(), free_address());
        Self { folder, supervisor, nginx: None, plain, secure, environment }
    }

    /// A file of `deploy/` with this host's places.
    fn shipped(&self, name: &str) -> String {
        let text = std::fs::read_to_string(root().join("deploy").join(name)).unwrap();
        let at = |folder: &str| self.folder.join(folder).to_string_lossy().into_owned();
        text.replace("/run/margrave", &at("run"))
            .replace("/var/lib/margrave", &at("lib"))
            .replace("/opt/margrave/current", &at("current"))
            .replace("/etc/margrave/gates.conf", &at("gates.conf"))
            .replace("/etc/margrave/tls", &at("tls"))
    }

    /// Starts a unit by its shipped file.
    fn start(&mut self, file: &str, name: &str, socket: &str, environment: &[(&str, String)]) {
        let unit = self.shipped(&format!("systemd/{file}")).replace("\\\n", " ");
        let instance = name.split_once('@').map_or("", |(_, instance)| instance);
        let value = |key: &str| {
            let line = unit.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
            line.map(|line| line.replace("%i", instance).replace("${ORIGIN_ADDRESS}", &self.origin()))
        };
        let log = std::fs::File::create(self.folder.join(format!("{name}.log"))).unwrap();
        let before = value("ExecStartPre").unwrap_or_default();
        let at = value("WorkingDirectory").unwrap_or_else(|| "/".to_owned());
        // A shell, so that the folder is looked up at each start.
        let line = format!("cd {at} && exec {}", value("ExecStart").unwrap());
        let environment = self.environment.iter().cloned().chain(environment.iter().cloned());
        self.supervisor.start(name, socket, &before, |command| {
            command.args(["/bin/sh", "-c", &line]).envs(environment);
            command.stdout(log.try_clone().unwrap()).stderr(log);
        });
    }

    fn origin(&self) -> String {
        self.environment.iter().find(|(name, _)| *name == "ORIGIN_ADDRESS").unwrap().1.clone()
    }

    async fn start_all(&mut self, system: &System) {
        let socket = self.folder.join("run/issuer.sock").to_string_lossy().into_owned();
        self.start("margrave-issuer.service", "margrave-issuer", &socket, &system.issuer_environment());
        self.start("margrave-state.service", "margrave-state", "-", &[]);
        for gate in ["margrave-gate@1", "margrave-gate@2"] {
            self.start("margrave-gate@.service", gate, "-", &[]);
        }
        self.start_nginx();
        for _ in 0..200 {
            let answer = reqwest::get(format!("http://{}/.margrave/health", self.plain)).await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it does not get healthy:\n{}", self.logs());
    }

    fn start_nginx(&mut self) {
        std::fs::create_dir_all(self.folder.join("tls")).unwrap();
        let at = |name: &str| self.folder.join("tls").join(name);
        run(Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"])
            .arg("-keyout")
            .arg(at("privkey.pem"))
            .arg("-out")
            .arg(at("fullchain.pem")));
        write(&self.folder.join("gates.conf"), &self.shipped("nginx/gates.conf"));
        let site = self.shipped("nginx/margrave.conf");
        let site = site.replace(
            "listen 443 ssl http2;",
            &format!("listen {} ssl http2; listen {};", self.secure, self.plain),
        );
        write(&self.folder.join("margrave.conf"), &site);
        write(
            &self.folder.join("nginx.conf"),
            "daemon off; user root; pid nginx.pid; error_log stderr error; worker_processes 1; events {}\n\
             http { access_log off; client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;\n\
             uwsgi_temp_path tmp; scgi_temp_path tmp; include margrave.conf; }\n",
        );
        let log = std::fs::File::create(self.folder.join("nginx.log")).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&self.folder).args(["-c", "nginx.conf", "-e", "stderr"]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.nginx = Some(command.spawn().unwrap());
    }

    /// What everything has said.
    fn logs(&self) -> String {
        let files = std::fs::read_dir(&self.folder).unwrap().flatten();
        let logs = files.filter(|e| e.path().extension().is_some_and(|extension| extension == "log"));
        logs.fold(String::new(), |all, e| {
            let said = std::fs::read_to_string(e.path()).unwrap();
            format!("{all}{}: {said}\n", e.file_name().display())
        })
    }

    /// In which release's folder the processes of a unit work.
    fn release_of(&self, name: &str) -> String {
        let id = std::fs::read_to_string(self.folder.join(format!("{name}.pid"))).unwrap();
        let folder = std::fs::read_link(format!("/proc/{}/cwd", id.trim())).unwrap();
        folder.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned()
    }

    /// What an upgrade that is not begun with says.
    fn refused_upgrade(&self, release: &str) -> String {
        let output = self.upgrade(&[], release).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn upgrade(&self, options: &[&str], release: &str) -> Command {
        let mut command = Command::new(root().join("deploy/upgrade"));
        command
            .args(options)
            .arg(self.folder.join(release))
            .env("MARGRAVE_CURRENT", self.folder.join("current"))
            .env("MARGRAVE_GATES", self.folder.join("gates.conf"))
            .env("MARGRAVE_RUN", self.folder.join("run"))
            .env("MARGRAVE_RESTART", self.supervisor.restart())
            .env(
                "MARGRAVE_RELOAD",
                format!("nginx -p {} -c nginx.conf -e stderr -s reload", self.folder.display()),
            )
            .env("MARGRAVE_NGINX_PID", self.folder.join("nginx.pid"))
            .env("MARGRAVE_DRAIN_S", "5");
        command
    }
}

/// What became of each kind of request.
type Tally = Arc<Mutex<BTreeMap<String, usize>>>;

struct Load {
    client: reqwest::Client,
    base: String,
    tally: Tally,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// One request; gives its answer's JSON.
    async fn send(&self, kind: &str, request: reqwest::RequestBuilder) -> Value {
        let (outcome, body) = match request.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                (status.to_string(), answer.text().await.unwrap_or_default())
            }
            Err(error) => (format!("{error:?}"), String::new()),
        };
        let shown = if outcome == "200" { "200".to_owned() } else { format!("{outcome} {body}") };
        *self.tally.lock().unwrap().entry(format!("{kind}: {shown}")).or_default() += 1;
        serde_json::from_str(&body).unwrap_or_default()
    }

    fn post(&self, path: &str, media_type: &str, body: String) -> reqwest::RequestBuilder {
        self.client.post(format!("{}{path}", self.base)).header("content-type", media_type).body(body)
    }

    async fn exchange(&self, kind: &str, pairs: &[(&str, &str)]) -> Value {
        let request = self.post("/auth/oauth/token", "application/x-www-form-urlencoded", form(pairs));
        self.send(kind, request).await
    }

    async fn log_in(&self, facts: &Facts) -> Value {
        let body = json!({ "login": facts.login, "password": facts.password, "merchant_id": facts.merchant });
        let request = self.post("/auth/v1/factors/credentials", "application/json", body.to_string());
        let answer = self.send("login", request).await;
        let token = answer["security_token"].as_str().unwrap_or("").to_owned();
        let pairs = [("grant_type", FACTORS), ("client_id", &facts.client), ("security_tokens", &token)];
        self.exchange("grant", &pairs).await
    }

    /// Calls the origin as somebody.
    async fn call(&self, kind: &str, path: &str, token: &str) {
        let request = self.client.post(format!("{}{path}", self.base)).body("something");
        self.send(kind, request.header("authorization", format!("Bearer {token}"))).await;
    }
}

struct Facts {
    login: String,
    password: String,
    merchant: String,
    client: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_moves_to_another_release_and_refuses_nobody() {
    let system = up_with(&[], &["--postgres", &new_database()]).await;
    let mut host = Host::new(&system);
    host.start_all(&system).await;

    // TLS, as a browser would: with the name and the certificate checked.
    let said = Command::new("curl")
        .args(["-s", "--max-time", "10", "--http2", "--cacert"])
        .arg(host.folder.join("tls/fullchain.pem"))
        .args(["-D", "-", "--resolve", &format!("localhost:{}:127.0.0.1", port(&host.secure))])
        .arg(format!("https://localhost:{}/public/hello", port(&host.secure)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&said.stdout).to_lowercase();
    assert!(said.starts_with("http/2 200") && said.contains("strict-transport-security"), "{said}");
    assert!(!said.contains("server: nginx/"), "{said}");

    let facts = Arc::new(Facts {
        login: system.fact("username").to_owned(),
        password: system.fact("password").to_owned(),
        merchant: system.fact("merchant_id").to_owned(),
        client: system.fact("client_id").to_owned(),
    });
    let stop = Arc::new(AtomicBool::new(false));
    let tally = Tally::default();
    let load = || Load {
        // A connection for each request: an idle one may be closed by nginx's reload just when it is used again.
        client: reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap(),
        base: format!("http://{}", host.plain),
        tally: Arc::clone(&tally),
        stop: Arc::clone(&stop),
    };
    let first = load();
    let person = first.log_in(&facts).await;
    let token = person["access_token"].as_str().unwrap().to_owned();
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let (load, token) = (load(), token.clone());
        tasks.push(tokio::spawn(async move {
            while load.goes_on() {
                load.call("known session", "/api/write/x", &token).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }));
    }
    {
        let (load, facts) = (load(), Arc::clone(&facts));
        tasks.push(tokio::spawn(async move {
            while load.goes_on() {
                let session = load.log_in(&facts).await;
                load.call("new session", "/api/x", session["access_token"].as_str().unwrap_or("")).await;
            }
        }));
    }
    {
        let (load, facts, mut refresh) = (load(), Arc::clone(&facts), person["refresh_token"].clone());
        tasks.push(tokio::spawn(async move {
            while load.goes_on() {
                let text = refresh.as_str().unwrap_or("").to_owned();
                let pairs = [
                    ("grant_type", "refresh_token"),
                    ("client_id", &*facts.client),
                    ("refresh_token", &text),
                ];
                refresh = load.exchange("refresh", &pairs).await["refresh_token"].clone();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;

    let began = Instant::now();
    let mut upgrade = host.upgrade(&[], "release-2");
    let output = tokio::task::spawn_blocking(move || upgrade.output().unwrap()).await.unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", host.logs());
    assert!(began.elapsed() < Duration::from_mins(1), "it took {:?}", began.elapsed());
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }

    for unit in ["margrave-state", "margrave-gate@1", "margrave-gate@2"] {
        assert_eq!(host.release_of(unit), "release-2", "{unit}");
    }
    let tally = tally.lock().unwrap().clone();
    let refused: Vec<_> = tally.iter().filter(|(outcome, _)| !outcome.ends_with(": 200")).collect();
    assert!(refused.is_empty(), "{refused:#?}\n{tally:#?}\n{said}\n{}", host.logs());
    for kind in ["known session", "login", "grant", "new session", "refresh"] {
        assert!(tally[&format!("{kind}: 200")] >= 10, "{tally:#?}");
    }
    let gates = std::fs::read_to_string(host.folder.join("gates.conf")).unwrap();
    assert!(!gates.contains("down") && gates.matches("max_fails=0;").count() == 2, "{gates}");

    // Who is alone is not taken out, and a release that would refuse logins on the way is not begun with.
    let text = std::fs::read_to_string(host.folder.join("gates.conf")).unwrap();
    let alone = text.replace("gate-2.sock max_fails=0;", "gate-2.sock max_fails=0 down;");
    std::fs::write(host.folder.join("gates.conf"), text.lines().take(2).collect::<Vec<_>>().join("\n"))
        .unwrap();
    assert!(host.refused_upgrade("release-1").contains("fewer than two gates"));
    std::fs::write(host.folder.join("gates.conf"), &text).unwrap();
    let edge = std::fs::read_to_string(host.folder.join("release-1/edge/edge.toml")).unwrap();
    write(&host.folder.join("release-1/edge/edge.toml"), &edge.replace("wait_ms = 2000", "wait_ms = 200"));
    assert!(host.refused_upgrade("release-1").contains("wait_ms"));
    write(&host.folder.join("release-1/edge/edge.toml"), &edge);

    // Back, with a gate that a former attempt has left marked: it is the first, and nobody is refused either.
    std::fs::write(host.folder.join("gates.conf"), &alone).unwrap();
    let output = host.upgrade(&["--back"], "release-1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said} {}\n{}", String::from_utf8_lossy(&output.stderr), host.logs());
    let at = |name: &str| said.find(name).unwrap_or_else(|| panic!("{name}: {said}"));
    assert!(
        at("gate 2") < at("gate 1") && at("gate 1") < at("the state") && at("the state") < at("the issuer")
    );
    assert_eq!(host.release_of("margrave-gate@1"), "release-1");
    first.call("after it", "/api/write/x", &token).await;
    assert_eq!(first.tally.lock().unwrap().get("after it: 200"), Some(&1));

    // A release that is not whole is refused before anything is touched.
    for file in ["edge/worker.capnp", "edge/entry.js"] {
        std::fs::rename(host.folder.join("release-2").join(file), host.folder.join("aside")).unwrap();
        assert!(host.refused_upgrade("release-2").contains(&format!("{file} is not there")));
        std::fs::rename(host.folder.join("aside"), host.folder.join("release-2").join(file)).unwrap();
    }
    assert_eq!(host.release_of("margrave-state"), "release-1");
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}
