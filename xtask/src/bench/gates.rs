//! Gates before one state process: what the way to it costs, and what it holds. No aim names these; an operator plans with
//! them.

use super::Plan;
use super::contenders::{Contenders, resident_mb};
use super::load::{Expect, measure_over};
use super::report::{Report, Row, median};
use super::tokens::Tokens;
use crate::Outcome;
use crate::progress::step;
use crate::tools::Tools;
use crate::workerd::Role;
use std::path::Path;

/// Sessions whose state is weighed.
const HELD: usize = 100_000;

/// Sessions that are judged from memory.
const KNOWN: usize = 1_000;

/// Connections: with more, answers of objects wait in line on two cores for longer than the 200 ms that they have.
const CONNECTIONS: usize = 8;

/// Sessions that nobody has met, for one run: more than one run gets through.
const NEW: usize = 20_000;

pub(super) async fn measure_gates(
    tools: &Tools,
    contenders: &Contenders,
    tokens: &Tokens,
    plan: &Plan<'_>,
    report: &mut Report,
) -> Outcome<()> {
    let (alone, alone_url) = contenders.another(tools, "gates-alone", Role::Alone).await?;
    let (state, _) = contenders.another(tools, "gates-state", Role::State).await?;
    let folder = plan.folder.join("gates-state");
    let (gate, gate_url) = contenders.another(tools, "gates-one", Role::Gate(folder.clone())).await?;
    let edges = [("one process", format!("{alone_url}/api/x")), ("a gate", format!("{gate_url}/api/x"))];

    // First what nobody has met, so that nothing else stands in the caches afterwards.
    let [mut known_figures, mut new_figures] = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
    for round in 0..=plan.options.rounds {
        for (at, ((name, url), figures)) in edges.iter().zip(&mut new_figures).enumerate() {
            let new = tokens.sessions_from((1 + 2 * round + at) * NEW + super::SESSIONS, NEW);
            let new = plan.write(&format!("new-{at}-{round}"), &new)?;
            let figure = measure_over(CONNECTIONS, url, &new, 3, Expect::Passed, &plan.folder).await?;
            step(&format!("{name}, sessions never met: {:.0}/s, p99 {}", figure.per_second, figure.p99));
            if round > 0 {
                figures.push(figure);
            }
        }
    }
    let known = plan.write("known", &tokens.sessions(KNOWN))?;
    for round in 0..=plan.options.rounds {
        for ((name, url), figures) in edges.iter().zip(&mut known_figures) {
            // The first round meets them.
            let seconds = if round == 0 { 15 } else { plan.options.seconds };
            let figure =
                measure_over(CONNECTIONS, url, &known, seconds, Expect::Passed, &plan.folder).await?;
            step(&format!("{name}, sessions from memory: {:.0}/s, p99 {}", figure.per_second, figure.p99));
            if round > 0 {
                figures.push(figure);
            }
        }
    }
    let what = "a gate before a state process ÷ an edge in one process: 1,000 sessions from memory";
    let [alone_known, gate_known] = &known_figures;
    report.add(Row::ratio("gates", what, 0.0, gate_known, alone_known));
    let what = "the same: every request of a session never met, which the state is asked for";
    let [alone_new, gate_new] = &new_figures;
    report.add(Row::ratio("gates", what, 0.0, gate_new, alone_new));

    let id = state.id().unwrap_or(0);
    let (memory_before, disk_before) = (resident_mb(id), size_mb(&folder.join("objects")));
    step("a hundred thousand sessions more");
    let held = plan.write("held", &tokens.sessions_from(100 * NEW, HELD))?;
    let per_second = median(&gate_new.iter().map(|figure| figure.per_second).collect::<Vec<_>>()).max(1.0);
    let seconds = (HELD as f64 / per_second * 1.2) as u64 + 5;
    let url = edges.get(1).map_or("", |(_, url)| url);
    measure_over(CONNECTIONS, url, &held, seconds.min(300), Expect::Passed, &plan.folder).await?;
    let (memory, disk) = (resident_mb(id), size_mb(&folder.join("objects")));
    let what = format!("state process, resident MB after 100,000 sessions more ({memory_before:.0} before)");
    report.add(Row::recorded("gates", &what, memory));
    let what = format!("its objects on disk, MB ({disk_before:.0} before)");
    report.add(Row::recorded("gates", &what, disk));
    for process in [alone, gate, state] {
        process.stop().await;
    }
    Ok(())
}

/// What the files of a folder weigh.
fn size_mb(folder: &Path) -> f64 {
    let (mut folders, mut bytes) = (vec![folder.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => bytes += metadata.len(),
                Err(_) => {}
            }
        }
    }
    bytes as f64 / 1e6
}
