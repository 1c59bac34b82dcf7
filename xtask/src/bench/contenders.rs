//! Who is measured: Margrave's edge, the peers, and the origin behind all of them.

use super::centre::OIDC_PROVIDER;
use super::report::{Row, median};
use super::stand_in::{self, Asked};
use super::{envoy, peers};
use crate::processes::Process;
use crate::secrets::Secrets;
use crate::tools::{EdgeBuild, Tools, capture};
use crate::workerd::{self, EdgePlan, Role};
use crate::{Outcome, ports, workspace};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// A contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// Margrave's edge.
    Margrave,
    /// jose in a Worker.
    Jose,
    /// Envoy's `jwt_authn` filter.
    Envoy,
    /// A Worker that checks nothing.
    PassThrough,
}

/// All of them, running.
pub(super) struct Contenders {
    folder: PathBuf,
    issuer: String,
    origin: String,
    ports: Vec<(Name, u16)>,
    processes: Vec<Process>,
    secrets: Secrets,
    versions: String,
    asked: Asked,
}

impl Contenders {
    pub(super) async fn start(tools: &Tools, folder: &Path) -> Outcome<Self> {
        for program in ["wrk", "nginx"] {
            if capture(Command::new(program).arg("-v")).await.is_err_and(|error| error.contains("os error 2"))
            {
                return Err(format!("{program} is not installed (Debian: `apt-get install {program}`)"));
            }
        }
        let port = |what: &str| ports::choose(what, None, None);
        let origin_port = port("origin")?;
        let mut processes = vec![peers::start_nginx(folder, origin_port).await?];
        let origin = format!("http://127.0.0.1:{origin_port}");
        let asked = Asked::default();
        let issuer = stand_in::start(port("issuer")?, asked.clone()).await?;
        let secrets = Secrets::new()?;
        let margrave = port("edge")?;
        let mut ports = vec![(Name::Margrave, margrave)];
        peers::build(tools, folder).await?;
        for (name, worker) in [(Name::Jose, "jose_worker"), (Name::PassThrough, "pass_through")] {
            let port = port(worker)?;
            processes.push(peers::start_worker(tools, folder, worker, port, origin_port, &issuer).await?);
            ports.push((name, port));
        }
        let port = port("envoy")?;
        processes.push(envoy::start(folder, port, origin_port, &issuer).await?);
        ports.push((Name::Envoy, port));
        let mut contenders = Self {
            folder: folder.to_owned(),
            issuer,
            origin,
            ports,
            processes,
            secrets,
            versions: String::new(),
            asked,
        };
        let edge = contenders.start_edge(tools, EdgeBuild::Release, margrave, "edge", String::new()).await?;
        contenders.processes.push(edge);
        let workerd = capture(Command::new(tools.workerd()?).arg("--version")).await.unwrap_or_default();
        contenders.versions = format!(
            "{}, jose {}, Envoy {}, oidc-provider {OIDC_PROVIDER}",
            workerd.trim(),
            peers::JOSE,
            envoy::VERSION
        );
        Ok(contenders)
    }

    /// One more edge, with settings of its own.
    pub(super) async fn another_edge(
        &self,
        tools: &Tools,
        build: EdgeBuild,
        folder: &str,
        overrides: String,
    ) -> Outcome<(Process, String)> {
        let port = ports::choose("edge", None, None)?;
        let process = self.start_edge(tools, build, port, folder, overrides).await?;
        Ok((process, format!("http://127.0.0.1:{port}")))
    }

    /// One more process of an edge.
    pub(super) async fn another(
        &self,
        tools: &Tools,
        folder: &str,
        role: Role,
    ) -> Outcome<(Process, String)> {
        let port = ports::choose("edge", None, None)?;
        let plan = EdgePlan { role, ..self.plan(EdgeBuild::Release, port, folder, String::new()) };
        Ok((workerd::start(tools, &plan).await?, format!("http://127.0.0.1:{port}")))
    }

    async fn start_edge(
        &self,
        tools: &Tools,
        build: EdgeBuild,
        port: u16,
        folder: &str,
        overrides: String,
    ) -> Outcome<Process> {
        workerd::start(tools, &self.plan(build, port, folder, overrides)).await
    }

    fn plan(&self, build: EdgeBuild, port: u16, folder: &str, overrides: String) -> EdgePlan<'_> {
        EdgePlan {
            role: Role::Alone,
            build,
            folder: self.folder.join("run").join(folder),
            port,
            issuer: &self.issuer,
            origin: &self.origin,
            edge_id: "edge",
            merchants: "[\"bench-merchant\"]".to_owned(),
            overrides,
            secrets: &self.secrets,
        }
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn issuer_url(&self) -> &str {
        &self.issuer
    }

    /// What the stand-in for the issuer was asked.
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    pub(super) fn versions(&self) -> String {
        self.versions.clone()
    }

    pub(super) fn url(&self, name: Name) -> String {
        let port = self.ports.iter().find(|(of, _)| *of == name).map_or(0, |(_, port)| *port);
        format!("http://127.0.0.1:{port}/api/x")
    }

    /// B10: a start from nothing, memory at rest, the size of what is deployed.
    pub(super) async fn start_figures(&mut self, tools: &Tools) -> Outcome<Vec<Row>> {
        let (mut starts, mut used) = (Vec::new(), Vec::new());
        let mut resident = 0.0_f64;
        for round in 0..5 {
            let port = ports::choose("edge", None, None)?;
            #[expect(clippy::disallowed_methods, reason = "a start takes real time")]
            let began = std::time::Instant::now();
            let folder = format!("start-{round}");
            let process = self.start_edge(tools, EdgeBuild::Release, port, &folder, String::new()).await?;
            starts.push(began.elapsed().as_secs_f64() * 1000.0);
            used.push(processor_ms(process.id().unwrap_or(0)));
            tokio::time::sleep(Duration::from_secs(2)).await;
            resident = resident.max(resident_mb(process.id().unwrap_or(0)));
            process.stop().await;
        }
        let wasm = workspace::root()?.join("edge/build/index_bg.wasm");
        let packed =
            capture(Command::new("sh").args(["-c", &format!("gzip -9 -c '{}' | wc -c", wasm.display())]))
                .await?;
        let packed_kb = packed.trim().parse::<f64>().unwrap_or(f64::MAX) / 1000.0;
        Ok(vec![
            Row::most(
                "B10",
                "edge: start of workerd to the first answer, ms (median of 5)",
                300.0,
                median(&starts),
            ),
            Row::most(
                "B10",
                "edge: processor time of workerd until then, its own start included, ms",
                100.0,
                median(&used),
            ),
            Row::most("B10", "edge: resident memory of workerd at rest, MB", 50.0, resident),
            Row::most("B10", "edge: wasm after gzip, kB", 900.0, packed_kb),
        ])
    }

    pub(super) async fn stop(self) {
        for process in self.processes {
            process.stop().await;
        }
    }
}

pub(super) fn resident_mb(id: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmRSS:"));
    let kb: f64 =
        line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kb| kb.parse().ok()).unwrap_or(0.0);
    kb / 1000.0
}

/// Processor time that a process has used, in steps of 10 ms.
fn processor_ms(id: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or("");
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() * 10.0
}
