//! What the edge is built and run with: installed once into the target folder, at the versions that fit together.

use crate::progress::step;
use crate::{Outcome, workspace};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// The version of wasm-bindgen's command line; the library in `Cargo.toml` must be the same to the digit.
const WASM_BINDGEN: &str = "0.2.130";
/// The version of worker-build.
const WORKER_BUILD: &str = "0.8.7";

/// The installed tools.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    root: PathBuf,
    bin: PathBuf,
}

impl Tools {
    /// Installs what is missing.
    pub(crate) async fn ensure() -> Outcome<Self> {
        let tools = Self { root: workspace::root()?, bin: workspace::target()?.join("tools").join("bin") };
        tools.ensure_wasm_target().await?;
        tools.ensure_cargo_tool("wasm-bindgen", "wasm-bindgen-cli", WASM_BINDGEN, false).await?;
        tools.ensure_cargo_tool("worker-build", "worker-build", WORKER_BUILD, true).await?;
        tools.ensure_npm().await?;
        Ok(tools)
    }

    async fn ensure_wasm_target(&self) -> Outcome<()> {
        let sysroot = capture(Command::new("rustc").args(["--print", "sysroot"])).await?;
        if Path::new(sysroot.trim()).join("lib/rustlib/wasm32-unknown-unknown").exists() {
            return Ok(());
        }
        step("installing Rust's wasm32-unknown-unknown target");
        run(
            Command::new("rustup").args(["target", "add", "wasm32-unknown-unknown"]),
            "rustup target add wasm32-unknown-unknown",
        )
        .await
    }

    async fn ensure_cargo_tool(
        &self,
        program: &str,
        package: &str,
        version: &str,
        locked: bool,
    ) -> Outcome<()> {
        let path = self.bin.join(format!("{program}{}", std::env::consts::EXE_SUFFIX));
        // worker-build prints no version, so what was installed is noted beside it.
        let note = self.bin.join(format!("{program}.version"));
        if path.exists() && std::fs::read_to_string(&note).is_ok_and(|text| text == version) {
            return Ok(());
        }
        step(&format!("installing {package} {version} (once, a few minutes)"));
        let mut command = cargo();
        command.args(["install", package, "--version", version, "--force", "--root"]);
        command.arg(self.bin.parent().unwrap_or(&self.bin));
        // Not into the target folder of the workspace: its lock is held while the workspace is built.
        command.env_remove("CARGO_TARGET_DIR");
        if locked {
            command.arg("--locked");
        }
        run(&mut command, &format!("cargo install {package}")).await?;
        std::fs::write(&note, version).map_err(|error| format!("{}: {error}", note.display()))
    }

    async fn ensure_npm(&self) -> Outcome<()> {
        let lock = self.root.join("package-lock.json");
        let wanted =
            std::fs::read_to_string(&lock).map_err(|error| format!("{}: {error}", lock.display()))?;
        let note = self.root.join("node_modules/.margrave-lock");
        if std::fs::read_to_string(&note).is_ok_and(|text| text == wanted) {
            return Ok(());
        }
        if capture(Command::new("node").arg("--version")).await.is_err() {
            return Err(
                "Node.js is not installed. Install version 20 or newer (https://nodejs.org) and try again"
                    .to_owned(),
            );
        }
        step("installing npm packages by their lock file");
        let mut command = Command::new("npm");
        // Not `npm ci`: it refuses a lock file that names another system's binaries without their details, which is
        // what npm writes where those cannot be had. This installs by the lock file too, and does not change it.
        command
            .args(["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&self.root);
        run(&mut command, "npm install").await?;
        std::fs::write(&note, wanted).map_err(|error| format!("{}: {error}", note.display()))
    }

    /// A program that an npm package brings.
    pub(crate) fn npm_bin(&self, name: &str) -> PathBuf {
        self.root.join("node_modules/.bin").join(name)
    }

    /// workerd's own binary, without the script around it: signals reach it directly.
    pub(crate) fn workerd(&self) -> Outcome<PathBuf> {
        let (os, cpu) = match (std::env::consts::OS, std::env::consts::ARCH) {
            ("linux", "x86_64") => ("linux", "64"),
            ("linux", "aarch64") => ("linux", "arm64"),
            ("macos", "x86_64") => ("darwin", "64"),
            ("macos", "aarch64") => ("darwin", "arm64"),
            ("windows", "x86_64") => ("windows", "64"),
            (os, cpu) => return Err(format!("workerd is not published for {os} on {cpu}")),
        };
        let path = self.root.join(format!(
            "node_modules/@cloudflare/workerd-{os}-{cpu}/bin/workerd{}",
            std::env::consts::EXE_SUFFIX
        ));
        if path.exists() {
            Ok(path)
        } else {
            Err(format!("{} is missing. Remove node_modules and try again", path.display()))
        }
    }

    /// Builds the Worker if its sources have changed.
    pub(crate) async fn build_edge(&self, kind: EdgeBuild) -> Outcome<()> {
        let folder = self.root.join("edge").join(kind.folder());
        let note = folder.join(".sources");
        let sources = self.edge_sources()?;
        let built = folder.join("index_bg.wasm").exists();
        if built && std::fs::read_to_string(&note).is_ok_and(|text| text == sources) {
            return Ok(());
        }
        step(kind.progress());
        let mut command = Command::new(self.bin.join("worker-build"));
        command
            .args(["--release", "--out-dir", kind.folder()])
            .args(kind.features())
            .current_dir(self.root.join("edge"))
            .env("WASM_BINDGEN_BIN", self.bin.join("wasm-bindgen"))
            .env("WASM_OPT_BIN", self.npm_bin("wasm-opt"))
            .env("ESBUILD_BIN", self.npm_bin("esbuild"));
        run(&mut command, "worker-build").await?;
        // What is deployed lies together: the wasm, its glue, the module around it and the configuration.
        for file in ["entry.js", "carry.js", "stream.js", "edge.toml"] {
            let (from, to) = (self.root.join("edge").join(file), folder.join(file));
            std::fs::copy(&from, &to)
                .map_err(|error| format!("{} cannot be copied: {error}", from.display()))?;
        }
        std::fs::write(&note, sources).map_err(|error| format!("{}: {error}", note.display()))
    }

    /// The state of everything that the Worker is made of: paths, sizes and times of change.
    fn edge_sources(&self) -> Outcome<String> {
        let mut text = String::new();
        let mut folders = vec![self.root.join("edge/src"), self.root.join("shared/src")];
        let mut files = vec![
            self.root.join("Cargo.lock"),
            self.root.join("Cargo.toml"),
            self.root.join("edge/Cargo.toml"),
            self.root.join("edge/entry.js"),
            self.root.join("edge/carry.js"),
            self.root.join("edge/stream.js"),
            self.root.join("edge/edge.toml"),
            self.root.join("shared/Cargo.toml"),
        ];
        while let Some(folder) = folders.pop() {
            let entries =
                std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            for entry in entries.flatten() {
                let path = entry.path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        for file in files {
            let facts = std::fs::metadata(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            let changed = facts.modified().map_err(|error| error.to_string())?;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {} {changed:?}", file.display(), facts.len());
        }
        Ok(text)
    }
}

/// Cargo, as it is from a shell. What cargo tells a program that it runs (this one) would be news to the build scripts that
/// ask for it, and every change between this command and a shell would compile them, and all behind them, again.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new("cargo");
    let told = |name: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "NEXTEST"]
            .iter()
            .any(|p| name.starts_with(p))
    };
    for (name, _) in std::env::vars().filter(|(name, _)| told(name)) {
        command.env_remove(name);
    }
    command
}

/// Runs a program with its output before the reader's eyes.
pub(crate) async fn run(command: &mut Command, name: &str) -> Outcome<()> {
    // Standard output belongs to the answer in JSON.
    let status = command.stdin(std::process::Stdio::null()).stdout(std::io::stderr()).status().await;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{name}` ended with {status}; what it says above names the cause")),
        Err(error) => Err(format!("`{name}` cannot be run: {error}")),
    }
}

/// Runs a program and gives its standard output.
pub(crate) async fn capture(command: &mut Command) -> Outcome<String> {
    let output = command.output().await.map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// Which Worker is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum EdgeBuild {
    /// The one that is deployed.
    Release,
    /// The one whose clock and objects tests can disturb.
    Drill,
}

impl EdgeBuild {
    /// The folder in `edge/` where it lies.
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Release => "build",
            Self::Drill => "build-drill",
        }
    }

    const fn features(self) -> &'static [&'static str] {
        match self {
            Self::Release => &[],
            Self::Drill => &[".", "--features", "drill"],
        }
    }

    const fn progress(self) -> &'static str {
        match self {
            Self::Release => "building the edge's wasm",
            Self::Drill => "building the edge's wasm for drills",
        }
    }
}
