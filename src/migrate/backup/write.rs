//! Writes a backup: rows become lines, lines become compressed blocks, and what they were becomes the manifest, last.
//!
//! Memory is bounded by a block and a row. Must never enter: which rows.

use super::{
    manifest::{Block, FORMAT, Manifest},
    place::Backup,
    row,
};
use crate::{
    error::{Fault, FaultKind, Result},
    migrate::lane::Side,
    model::{Digest, Field, Record, Timestamp},
};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use zstd::stream::write::Encoder;

/// A block ends once its lines have so many bytes.
const BLOCK: u64 = 16 << 20;
/// As the tool of the same name compresses unless told otherwise.
const LEVEL: i32 = 3;

/// A backup on its way.
pub(super) struct Writer<'b> {
    backup: &'b Backup,
    begun: Timestamp,
    line: Vec<u8>,
    lines: Option<Encoder<'static, Vec<u8>>>,
    rows: u64,
    bytes: u64,
    whole: Sha256,
    blocks: Vec<Block>,
}

impl<'b> Writer<'b> {
    pub(super) fn new(backup: &'b Backup) -> Self {
        Self {
            backup,
            begun: Timestamp::now(),
            line: Vec::new(),
            lines: None,
            rows: 0,
            bytes: 0,
            whole: Sha256::new(),
            blocks: Vec::new(),
        }
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.blocks.iter().map(|block| block.rows).sum::<u64>() + self.rows
    }

    /// Keeps one more row.
    pub(super) async fn push(&mut self, row: &Record) -> Result<()> {
        self.line.clear();
        row::write(&mut self.line, row);
        let mut lines = match self.lines.take() {
            Some(lines) => lines,
            None => Encoder::new(Vec::new(), LEVEL).map_err(|error| self.cannot_compress(error))?,
        };
        lines.write_all(&self.line).map_err(|error| self.cannot_compress(error))?;
        self.whole.update(&self.line);
        self.rows += 1;
        self.bytes += self.line.len() as u64;
        self.lines = Some(lines);
        if self.bytes >= BLOCK { self.end_block().await } else { Ok(()) }
    }

    async fn end_block(&mut self) -> Result<()> {
        let Some(lines) = self.lines.take() else { return Ok(()) };
        let stored = lines.finish().map_err(|error| self.cannot_compress(error))?;
        let block = Block {
            rows: std::mem::take(&mut self.rows),
            bytes: std::mem::take(&mut self.bytes),
            stored: stored.len() as u64,
            sha256: Digest::of(&stored),
        };
        self.backup.keep_block(self.blocks.len(), stored).await?;
        self.blocks.push(block);
        Ok(())
    }

    /// Ends the backup of this side: only from here on there is one.
    pub(super) async fn finish(mut self, plan: &str, side: &Side, fields: Vec<Field>) -> Result<Manifest> {
        self.end_block().await?;
        let manifest = Manifest {
            format: FORMAT,
            plan: plan.to_owned(),
            run: self.backup.run.clone(),
            dataset: self.backup.dataset.clone(),
            store: side.name.clone(),
            set: side.set.name.clone(),
            key: side.set.key.clone(),
            fields,
            begun: self.begun,
            taken: Timestamp::now(),
            rows: self.rows(),
            bytes: self.blocks.iter().map(|block| block.bytes).sum(),
            sha256: Digest(self.whole.finalize().into()),
            blocks: self.blocks,
        };
        self.backup.keep_manifest(&manifest).await?;
        Ok(manifest)
    }

    fn cannot_compress(&self, error: std::io::Error) -> Fault {
        Fault::new(FaultKind::Internal, format!("compress {}", self.backup.told())).source(error)
    }
}
