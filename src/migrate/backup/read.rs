//! Reads a backup back, checked against its manifest: block by block by its checksum, and in the end as a whole.
//!
//! Memory is bounded by a block and what is given at once. Must never enter: what becomes of the rows.

use super::{manifest::Manifest, place::Backup, row};
use crate::{
    error::{Fault, FaultKind, Result},
    model::{Digest, Record},
};
use bytes::{Buf as _, Bytes, buf::Reader};
use sha2::{Digest as _, Sha256};
use std::io::{BufRead as _, BufReader, Read as _};
use zstd::stream::read::Decoder;

/// Lines that are given at once end at about so many bytes.
const AT_ONCE: usize = 4 << 20;

/// A block that is being read.
struct Lines {
    text: BufReader<Decoder<'static, BufReader<Reader<Bytes>>>>,
    rows: u64,
    bytes: u64,
}

/// A backup on its way back.
pub(super) struct Rows<'b> {
    backup: &'b Backup,
    manifest: &'b Manifest,
    /// The block that comes after the open one.
    next: usize,
    open: Option<Lines>,
    whole: Sha256,
    /// Rows given so far.
    pub(super) given: u64,
}

impl<'b> Rows<'b> {
    pub(super) fn new(backup: &'b Backup, manifest: &'b Manifest) -> Self {
        Self { backup, manifest, next: 0, open: None, whole: Sha256::new(), given: 0 }
    }

    /// The next rows, at most so many; `None` once all were given and all is as it was written.
    ///
    /// # Errors
    /// `Mismatch` if it is not; what the bucket says after all attempts; `Cancelled`.
    pub(super) async fn some(&mut self, most: usize) -> Result<Option<Vec<Record>>> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while rows.len() < most.max(1) && bytes < AT_ONCE {
            let Some(mut lines) = self.lines().await? else { break };
            let mut line = Vec::new();
            self.line(&mut lines, &mut line)?;
            self.whole.update(&line);
            bytes += line.len();
            self.given += 1;
            rows.push(row::read(&line).map_err(|why| self.hurt(format!("row {}: {why}", self.given)))?);
            self.open = Some(lines);
        }
        if !rows.is_empty() {
            return Ok(Some(rows));
        }
        let whole = Digest(self.whole.clone().finalize().into());
        if self.given != self.manifest.rows || whole != self.manifest.sha256 {
            let (given, wanted) = (self.given, self.manifest.rows);
            return Err(self.hurt(format!("{given} rows came back, {wanted} were written, or their bytes differ")));
        }
        Ok(None)
    }

    /// The block that has the next line, if there is one.
    async fn lines(&mut self) -> Result<Option<Lines>> {
        loop {
            if let Some(lines) = self.open.take() {
                if lines.rows > 0 {
                    return Ok(Some(lines));
                }
                self.ended(&lines)?;
            }
            let Some(block) = self.manifest.blocks.get(self.next) else { return Ok(None) };
            let stored = self.backup.block(self.next, block.stored).await?;
            self.next += 1;
            if Digest::of(&stored) != block.sha256 {
                return Err(self.hurt(format!("the checksum of block {} differs", self.next)));
            }
            let text = Decoder::new(stored.reader()).map_err(|error| self.hurt(error.to_string()))?;
            self.open = Some(Lines { text: BufReader::new(text), rows: block.rows, bytes: block.bytes });
        }
    }

    fn line(&self, lines: &mut Lines, line: &mut Vec<u8>) -> Result<()> {
        // Never more than the block has: what it was compressed from is known.
        let read = lines.text.by_ref().take(lines.bytes).read_until(b'\n', line);
        let read = read.map_err(|error| self.hurt(format!("block {}: {error}", self.next)))?;
        if line.pop() != Some(b'\n') {
            return Err(self.hurt(format!("block {} ends in the middle of a row", self.next)));
        }
        line.push(b'\n');
        lines.bytes -= read as u64;
        lines.rows -= 1;
        Ok(())
    }

    fn ended(&self, lines: &Lines) -> Result<()> {
        if lines.bytes == 0 { Ok(()) } else { Err(self.hurt(format!("block {} has more than its rows", self.next))) }
    }

    fn hurt(&self, detail: String) -> Fault {
        Fault::new(FaultKind::Mismatch, format!("read {}", self.backup.told())).detail(detail)
    }
}

/// Reads all of a backup: it is as it was written.
///
/// # Errors
/// `NotFound` if there is none; `Mismatch` if it is hurt; what the bucket says after all attempts; `Cancelled`.
pub async fn check(backup: &Backup) -> Result<Manifest> {
    let manifest = backup.manifest().await?;
    let mut rows = Rows::new(backup, &manifest);
    while rows.some(usize::MAX).await?.is_some() {
        backup.breathe().await?;
    }
    Ok(manifest)
}
