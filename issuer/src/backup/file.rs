//! The file: lines, and the proof over them.

use super::BackupError;
use super::tables::{Kind, Table, Value};
use margrave_shared::base64;
use margrave_shared::secret::SecretKey;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

/// The first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// The format: 1.
    pub(super) margrave_backup: u32,
    /// The last migration.
    pub(super) schema: i64,
    /// Unix milliseconds of the moment.
    pub(super) at: i64,
}

/// The line before a table's rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableLine {
    /// Its name.
    pub(super) table: String,
    /// Its columns.
    pub(super) columns: Vec<(String, Kind)>,
}

/// The last line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    end: bool,
    rows: u64,
    proof: String,
}

/// Any line but the first.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Line {
    Row(Vec<Value>),
    Table(TableLine),
    End(EndLine),
}

/// The proof of the lines so far: each line's is made of the line and of the proof before.
struct Proof {
    key: SecretKey,
    last: [u8; 32],
}

impl Proof {
    fn new(key: &SecretKey) -> Self {
        Self { key: key.derive("backup"), last: [0; 32] }
    }

    fn add(&mut self, line: &[u8]) {
        self.last = self.key.tag(&[&self.last, line]);
    }
}

/// Writes a backup.
pub(super) struct Writer {
    path: String,
    out: BufWriter<File>,
    proof: Proof,
    rows: u64,
}

impl Writer {
    /// A new file that nobody else can read.
    pub(super) fn create(path: &Path, key: &SecretKey, header: Header) -> Result<Self, BackupError> {
        let name = path.display().to_string();
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| BackupError::File(name.clone(), error))?;
        let mut writer = Self { path: name, out: BufWriter::new(file), proof: Proof::new(key), rows: 0 };
        writer.line(&header)?;
        Ok(writer)
    }

    fn line(&mut self, line: &impl Serialize) -> Result<(), BackupError> {
        let mut text = serde_json::to_vec(line).map_err(|error| self.failed(error.into()))?;
        text.push(b'\n');
        self.proof.add(&text);
        self.out.write_all(&text).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: std::io::Error) -> BackupError {
        BackupError::File(self.path.clone(), error)
    }

    /// Begins a table.
    pub(super) fn table(&mut self, table: &Table) -> Result<(), BackupError> {
        self.line(&TableLine { table: table.name.clone(), columns: table.columns.clone() })
    }

    /// Writes a row.
    pub(super) fn row(&mut self, row: &[Value]) -> Result<(), BackupError> {
        self.rows += 1;
        self.line(&row)
    }

    /// Writes the proof, and waits until all of it is on the disk. Gives how many rows there are.
    pub(super) fn end(mut self) -> Result<u64, BackupError> {
        let proof = base64::encode_url(&self.proof.last);
        let rows = self.rows;
        self.line(&EndLine { end: true, rows, proof })?;
        self.out.flush().map_err(|error| self.failed(error))?;
        self.out.get_ref().sync_all().map_err(|error| self.failed(error))?;
        Ok(rows)
    }
}

/// What a reader is given.
pub(super) enum Read {
    /// A table begins.
    Table(TableLine),
    /// A row of it.
    Row(Vec<Value>),
}

/// Reads a backup from its first line to its last, and gives its header; nothing of it counts before this has returned.
pub(super) fn read(
    path: &Path,
    key: &SecretKey,
    mut each: impl FnMut(Read) -> Result<(), BackupError>,
) -> Result<Header, BackupError> {
    let failed = |error| BackupError::File(path.display().to_string(), error);
    let mut lines = BufReader::new(File::open(path).map_err(failed)?);
    let mut proof = Proof::new(key);
    let (mut header, mut width, mut rows) = (None, None, 0);
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        lines.read_until(b'\n', &mut text).map_err(failed)?;
        let bad = |why| BackupError::NotABackup(number, why);
        if text.last() != Some(&b'\n') {
            return Err(bad("the file ends before its last line"));
        }
        if number == 1 {
            let first: Header = serde_json::from_slice(&text).map_err(|_| bad("it does not begin as one"))?;
            if first.margrave_backup != 1 {
                return Err(bad("its format is not known"));
            }
            header = Some(first);
            proof.add(&text);
            continue;
        }
        match serde_json::from_slice(&text).map_err(|_| bad("it cannot be read"))? {
            Line::End(EndLine { end: true, rows: said, proof: stored }) => {
                if stored != base64::encode_url(&proof.last) {
                    return Err(BackupError::NotProven);
                }
                if said != rows {
                    return Err(bad("rows are missing"));
                }
                let more = !lines.fill_buf().map_err(failed)?.is_empty();
                return if more { Err(bad("something follows its end")) } else { header.ok_or(bad("")) };
            }
            Line::End(_) => return Err(bad("it cannot be read")),
            Line::Table(table) => {
                width = Some(table.columns.len());
                each(Read::Table(table))?;
            }
            Line::Row(row) => {
                if width != Some(row.len()) {
                    return Err(bad("a row does not fit its table"));
                }
                rows += 1;
                each(Read::Row(row))?;
            }
        }
        proof.add(&text);
    }
    Err(BackupError::NotProven)
}
