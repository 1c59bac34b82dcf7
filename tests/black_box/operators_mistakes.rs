//! What an operator is told who has mistyped something: at once, the place and the mend.

use crate::deployment::{authority, workerd};
use crate::http::get;
use crate::system::{free_address, new_state, refused_start, up};
use std::process::{Command, Stdio};
use std::time::Duration;

#[tokio::test]
async fn a_wrong_start_ends_at_once_and_names_the_mend() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    // Nobody listens on port 9 of a machine that keeps no service of 1983.
    let nobody = "postgres://somebody:secret@127.0.0.1:9/margrave";
    for (options, said) in [
        (["--set", "edge.limits.account_atempts=3"], "unknown field `account_atempts`, expected one of"),
        (["--set", "edge.merchants=[]"], "`merchants` names at least one"),
        (
            ["--set", "issuer.session.idle_s=abc"],
            "`session.idle_s`: string \"abc\" was given, a whole number",
        ),
        (["--set", "issuer.colour=1"], "`colour` is not a setting"),
        (["--set", "nonsense"], "write it as issuer.<section>.<key>=<value>"),
        (["--issuer-port", &port], &port),
        (["--issuer-port=18997", "--edge-port=18997"], "are one each"),
        (["--postgres", nobody], "xtask: the database postgres://…@127.0.0.1:9/margrave cannot be opened"),
        (["--state", "/dev/null"], "Name a folder with --state"),
    ] {
        let state = new_state();
        let folder = state.to_string_lossy();
        let mut arguments = vec!["up", "--json"];
        if options[0] != "--state" {
            arguments.extend(["--state", &folder]);
        }
        arguments.extend(options);
        let text = refused_start(&arguments).await;
        assert!(text.contains(said), "{options:?}: {text}");
        assert!(!text.contains("somebody:secret"), "{text}");
        let _ = std::fs::remove_dir_all(&state);
    }
}

#[tokio::test]
async fn an_edge_started_by_hand_names_the_secrets_that_are_missing_and_needs_no_others() {
    let system = up(&[]).await;
    let folder = new_state();
    std::fs::create_dir_all(folder.join("objects")).unwrap();
    for entry in std::fs::read_dir(system.edge_folder()).unwrap().flatten() {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    let here = free_address();
    let addresses = [
        format!("--socket-addr=http={here}"),
        format!("--external-addr=issuer={}", authority(system.fact("issuer"))),
        format!("--external-addr=origin={}", authority(system.fact("origin"))),
    ];
    let secrets = std::fs::read_to_string(system.edge_folder().join("../secrets.json")).unwrap();
    let secrets: serde_json::Value = serde_json::from_str(&secrets).unwrap();
    let secret = |name: &str| secrets[name].as_str().unwrap().to_owned();
    let url = format!("http://{here}/.margrave/health");

    let run = |variables: &[(&str, String)]| {
        let log = std::fs::File::create(folder.join("said.log")).unwrap();
        let mut command = Command::new(workerd());
        command.args(["serve", "config.capnp"]).args(&addresses).current_dir(&folder).stdin(Stdio::null());
        for name in ["EDGE_OVERRIDES", "EDGE_SIGNING_KEY", "HOP_KEY", "LIMITER_KEY"] {
            command.env_remove(name);
        }
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    };
    let complete = [
        ("EDGE_SIGNING_KEY", secret("edge_signing_key")),
        ("HOP_KEY", format!("demo:{}", secret("hop_key"))),
        ("LIMITER_KEY", secret("limiter_key")),
    ];
    for (variables, status) in [(&complete[..1], 503), (&complete[..], 200)] {
        let mut child = run(variables);
        let mut answered = 0;
        for _ in 0..100 {
            if let Ok(answer) = reqwest::get(&url).await {
                answered = answer.status().as_u16();
                if answered == status {
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if status == 200 {
            get(&format!("http://{here}/api/x"), &[]).await.expect(401);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let said = std::fs::read_to_string(folder.join("said.log")).unwrap();
        assert_eq!(answered, status, "{said}");
        for problem in
            ["the secret HOP_KEY (as <key id>:<key>) is not set", "the secret LIMITER_KEY is not set"]
        {
            assert_eq!(said.contains(problem), status == 503, "{said}");
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
}
