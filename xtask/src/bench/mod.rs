//! `cargo xtask bench`: measured side by side with named peers, interleaved in one run, so that only ratios count.
//!
//! Behind every contender stands the same origin, nginx answering `ok`. The issuer is a stand-in that publishes keys
//! and a feed, so that thousands of sessions need no password hashed.

mod border;
mod centre;
mod contenders;
mod endings;
mod envoy;
mod gates;
mod growth;
mod load;
mod peers;
mod report;
mod stand_in;
mod tokens;

use crate::processes::stop_signal;
use crate::progress::step;
use crate::tools::{EdgeBuild, Tools};
use crate::{Outcome, workspace};
use clap::Args;
use contenders::{Contenders, Name};
use load::{Expect, Figure, measure};
use report::{Report, Row};
use std::path::PathBuf;
use tokens::Tokens;

/// Options of `bench`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Which ones, of B1 B2 B3 B4 B5 B6 B7 B8 B9 B10 B11 gates; without any, all of these, and their rows in
    /// `docs/benchmarks.md` are replaced.
    ids: Vec<String>,
    /// Replace the rows of these too.
    #[arg(long)]
    write: bool,
    /// How many interleaved rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load in each round.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

impl Options {
    fn wants(&self, id: &str) -> bool {
        self.ids.is_empty() || self.ids.iter().any(|wanted| wanted == id)
    }
}

const KNOWN: [&str; 12] = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10", "B11", "gates"];

/// Sessions that take turns in B1.
const SESSIONS: usize = 5000;

pub(crate) async fn run(options: &Options) -> Outcome<()> {
    if let Some(unknown) = options.ids.iter().find(|id| !KNOWN.contains(&id.as_str())) {
        return Err(format!("{unknown} is not measured; there are {}", KNOWN.join(" ")));
    }
    let tools = Tools::ensure().await?;
    tools.build_edge(EdgeBuild::Release).await?;
    let folder = workspace::target()?.join("bench");
    let _ = std::fs::remove_dir_all(folder.join("run"));
    std::fs::create_dir_all(folder.join("run")).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut contenders = Contenders::start(&tools, &folder).await?;
    let tokens = Tokens::new(contenders.issuer_url());
    let mut report = Report::new(contenders.versions());
    let plan = Plan { options, folder: folder.join("run"), bench: folder.clone() };

    let measured = tokio::select! {
        measured = measure_wanted(options, &tools, &mut contenders, &tokens, &plan, &mut report) => measured,
        // Or everybody would be left running.
        () = stop_signal() => Err("stopped".to_owned()),
    };
    contenders.stop().await;
    // What was measured before something failed is measured.
    let written = if options.write || options.ids.is_empty() {
        report.write(&workspace::root()?.join("docs/benchmarks.md"))
    } else {
        Ok(())
    };
    measured.and(written)
}

async fn measure_wanted(
    options: &Options,
    tools: &Tools,
    contenders: &mut Contenders,
    tokens: &Tokens,
    plan: &Plan<'_>,
    report: &mut Report,
) -> Outcome<()> {
    let wanted = |id: &str| options.wants(id);
    if wanted("B1") {
        let file = plan.write("sessions", &tokens.sessions(SESSIONS))?;
        // Live sessions are sessions that have been met.
        step("meeting 5,000 sessions");
        measure(&contenders.url(Name::Margrave), &file, 20, Expect::Passed, &plan.folder).await?;
        let names = [Name::Margrave, Name::Jose, Name::Envoy, Name::PassThrough];
        let figures = plan.interleave(contenders, &names, &[file], Expect::Passed).await?;
        if let [ours, jose, envoy, pass_through] = figures.as_slice() {
            let what = "full corridor, 5,000 sessions taking turns ÷ jose Worker";
            report.add(Row::ratio("B1", what, 1.5, ours, jose));
            let what = "the same ÷ JavaScript pass-through Worker";
            report.add(Row::ratio("B1", what, 0.7, ours, pass_through));
            report.add(Row::ratio("B1", "the same ÷ Envoy's jwt_authn, one thread", 0.0, ours, envoy));
        }
    }
    if wanted("B2") {
        let files = (0..=options.rounds)
            .map(|round| plan.write(&format!("fresh-{round}"), &tokens.fresh(40_000, round)))
            .collect::<Outcome<Vec<_>>>()?;
        let figures =
            plan.interleave(contenders, &[Name::Margrave, Name::Jose], &files, Expect::Passed).await?;
        if let [ours, jose] = figures.as_slice() {
            report.add(Row::ratio("B2", "every token new ÷ jose Worker", 0.9, ours, jose));
        }
    }
    if wanted("B3") {
        let sessions = plan.write("passing", &tokens.sessions(200))?;
        let base = plan.interleave(contenders, &[Name::Margrave], &[sessions], Expect::Passed).await?;
        for (what, tokens, least) in [
            ("bad signature", tokens.badly_signed(SESSIONS), None),
            ("expired", tokens.expired(SESSIONS), Some(1.3)),
            ("revoked", tokens.revoked(), Some(1.3)),
            ("no token", vec!["none".to_owned()], Some(1.3)),
        ] {
            let file = plan.write(&what.replace(' ', "-"), &tokens)?;
            let refused = plan.interleave(contenders, &[Name::Margrave], &[file], Expect::Refused).await?;
            if let ([refused], [passed]) = (refused.as_slice(), base.as_slice()) {
                let what = format!("refused: {what} ÷ passed");
                report.add(Row::ratio("B3", &what, least.unwrap_or(0.0), refused, passed));
            }
        }
    }
    if wanted("B4") {
        endings::measure(tools, contenders, plan, report).await?;
    }
    if wanted("B5") {
        border::object_calls(tools, contenders, tokens, plan, report).await?;
    }
    if wanted("B6") {
        border::attempts(tools, contenders, plan, report).await?;
    }
    if ["B7", "B8", "B9"].into_iter().any(wanted) {
        centre::measure(options, tools, &plan.bench, plan, report).await?;
    }
    if wanted("B11") {
        growth::measure(options, plan, report).await?;
    }
    if wanted("gates") {
        gates::measure_gates(tools, contenders, tokens, plan, report).await?;
    }
    if wanted("B10") {
        report.add_all(contenders.start_figures(tools).await?);
    }
    Ok(())
}

struct Plan<'a> {
    options: &'a Options,
    folder: PathBuf,
    /// Where the peers are installed.
    bench: PathBuf,
}

impl Plan<'_> {
    fn write(&self, name: &str, tokens: &[String]) -> Outcome<PathBuf> {
        let path = self.folder.join(format!("{name}.tokens"));
        std::fs::write(&path, tokens.join("\n")).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    /// A warm-up of every contender, then rounds in turn: A B C A B C. The first file warms up; with several, each
    /// round has one of its own.
    async fn interleave(
        &self,
        contenders: &Contenders,
        names: &[Name],
        files: &[PathBuf],
        expect: Expect,
    ) -> Outcome<Vec<Vec<Figure>>> {
        let mut figures = vec![Vec::new(); names.len()];
        for round in 0..=self.options.rounds {
            let file = files.get(round).or_else(|| files.first()).ok_or("no tokens")?;
            for (name, list) in names.iter().zip(&mut figures) {
                // wasm gets faster in its first ten seconds under load.
                let seconds = if round == 0 { 10 } else { self.options.seconds };
                let url = contenders.url(*name);
                let figure = measure(&url, file, seconds, expect, &self.folder).await?;
                step(&format!(
                    "{name:?}: {:.0}/s, p50 {}, p99 {}",
                    figure.per_second, figure.p50, figure.p99
                ));
                if round > 0 {
                    list.push(figure);
                }
            }
        }
        Ok(figures)
    }
}
