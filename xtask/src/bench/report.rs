//! `docs/benchmarks.md`.

use super::load::Figure;
use super::tokens::now;
use crate::Outcome;
use crate::progress::step;
use std::fmt::Write as _;
use std::path::Path;

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Row {
    id: &'static str,
    what: String,
    must: String,
    reached: String,
    ok: bool,
}

/// The middle one.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

impl Row {
    /// The median of the rounds' ratios, with the least and the greatest, and both medians.
    pub(super) fn ratio(id: &'static str, what: &str, must: f64, ours: &[Figure], theirs: &[Figure]) -> Self {
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a.per_second / b.per_second).collect();
        let rate = |figures: &[Figure]| median(&figures.iter().map(|f| f.per_second).collect::<Vec<_>>());
        let (least, most) =
            ratios.iter().fold((f64::MAX, 0.0_f64), |(least, most), r| (least.min(*r), most.max(*r)));
        let latency = ours.last().map(|f| format!("p50 {}, p99 {}", f.p50, f.p99)).unwrap_or_default();
        let ratio = median(&ratios);
        Self {
            id,
            what: what.to_owned(),
            must: if must > 0.0 { format!("≥ {must}") } else { "recorded".to_owned() },
            reached: format!(
                "**{ratio:.2}** ({least:.2}–{most:.2}); {:.0}/s against {:.0}/s; {latency}",
                rate(ours),
                rate(theirs)
            ),
            ok: ratio >= must,
        }
    }

    /// A value that nothing is asked of.
    pub(super) fn recorded(id: &'static str, what: &str, value: f64) -> Self {
        let (what, must) = (what.to_owned(), "recorded".to_owned());
        Self { id, what, must, reached: format!("**{value:.0}**"), ok: true }
    }

    /// A rate that must be reached.
    pub(super) fn rate(id: &'static str, what: &str, must: f64, figure: &Figure) -> Self {
        let Figure { per_second, p50, p99 } = figure;
        Self {
            id,
            what: what.to_owned(),
            must: format!("≥ {must}"),
            reached: format!("**{per_second:.0}**; p50 {p50}, p99 {p99}"),
            ok: *per_second >= must,
        }
    }

    /// A value that must be reached.
    pub(super) fn least(id: &'static str, what: &str, must: f64, value: f64) -> Self {
        Self {
            id,
            what: what.to_owned(),
            must: format!("≥ {must}"),
            reached: format!("**{value:.2}**"),
            ok: value >= must,
        }
    }

    /// How many times longer something takes that must not grow.
    pub(super) fn growth(id: &'static str, what: &str, must: f64, small: f64, large: f64) -> Self {
        Self {
            id,
            what: what.to_owned(),
            must: format!("≤ {must}"),
            reached: format!("**{:.2}**; {large:.1} ms against {small:.1} ms", large / small),
            ok: large / small <= must,
        }
    }

    /// A count that must be exact.
    pub(super) fn exactly(id: &'static str, what: &str, must: u64, value: u64) -> Self {
        Self {
            id,
            what: what.to_owned(),
            must: format!("= {must}"),
            reached: format!("**{value}**"),
            ok: value == must,
        }
    }

    /// A value that must not exceed a bound.
    pub(super) fn most(id: &'static str, what: &str, must: f64, value: f64) -> Self {
        Self {
            id,
            what: what.to_owned(),
            must: format!("< {must}"),
            reached: if value < 10.0 { format!("**{value:.2}**") } else { format!("**{value:.0}**") },
            ok: value < must,
        }
    }
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Report {
    versions: String,
    rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(versions: String) -> Self {
        Self { versions, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, row: Row) {
        step(&format!("{} {}: {}", row.id, row.what, row.reached));
        self.rows.push(row);
    }

    pub(super) fn add_all(&mut self, rows: Vec<Row>) {
        for row in rows {
            self.add(row);
        }
    }

    /// Writes the document: the rows of what was measured replace those of the same id, the others stay. A missed figure is
    /// said to be missed.
    pub(super) fn write(&self, path: &Path) -> Outcome<()> {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let mut text = format!(
            "# Benchmarks\n\nWritten by `cargo xtask bench`, the last time at Unix second {}, on {cores} cores of {}, with {}.\n\
             Ratios are medians of interleaved rounds of one run, with the least and the greatest; only they carry over.\n\
             Load: `wrk -t1 -c32`; the same nginx answering `ok` stands behind every contender.\n\n\
             | id | what | must | reached | | at |\n| --- | --- | --- | --- | --- | --- |\n",
            now(),
            cpu.trim_start_matches([' ', '\t', ':']),
            self.versions
        );
        let before = std::fs::read_to_string(path).unwrap_or_default();
        let id_of = |line: &str| line.split('|').nth(1).unwrap_or("").trim().to_owned();
        for known in super::KNOWN {
            let new: Vec<&Row> = self.rows.iter().filter(|row| row.id == known).collect();
            for Row { id, what, must, reached, ok } in &new {
                let missed = if *ok { "" } else { "**missed**" };
                // Writing to a String cannot fail.
                let _ = writeln!(text, "| {id} | {what} | {must} | {reached} | {missed} | {} |", now());
            }
            if new.is_empty() {
                for line in before.lines().filter(|line| id_of(line) == known) {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        text.push_str(
            "\nNot measured yet: rauthy as a peer, which no registry has; hono's jwk middleware, \
             which takes no `at+jwt`.\n",
        );
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}
