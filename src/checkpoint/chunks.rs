//! A checkpoint's bytes, a chunk at a time.

use crate::checkpoint::contents::{
    Content, Data, Part, Piece, Wanted, contents, header, pieces, take,
};
use crate::checkpoint::describe::describe;
use crate::checkpoint::keys;
use crate::error::Error;
use crate::optimizer::{Engine, Optimizer};
use crate::optimizer::{Fetched, Head, Wait};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Debug};
use std::ops::Range;

/// A checkpoint's bytes in order, chunk by chunk: an iterator that waits for the device (not in
/// browsers, where nothing can), or [`Self::next_chunk`] to be `.await`ed. Two chunks are on their
/// way at once; no more of the checkpoint is in memory.
///
/// It has the optimizer to itself, so that no step is recorded meanwhile. Submit nothing that
/// writes to its buffers until the last chunk is there.
#[must_use = "the bytes come chunk by chunk"]
pub struct Chunks<'a, E: Engine> {
    optimizer: &'a mut Optimizer<E>,
    wanted: Wanted,
    user: BTreeMap<String, String>,
    chunk_bytes: u64,
    progress: Progress,
    stage: Stage<E>,
}

/// How much there is to write.
#[derive(Debug, Default)]
struct Progress {
    bytes: u64,
    total: Option<u64>,
}

enum Stage<E: Engine> {
    /// Counts and scale are yet to be known. They were asked for so often already.
    Head {
        tries: u32,
    },
    Body(Body<E>),
    Done,
}

/// The arrays, on their way.
struct Body<E: Engine> {
    contents: Vec<Content>,
    pieces: Vec<Piece>,
    /// Pieces of which nothing was asked yet.
    rest: Range<usize>,
    in_flight: VecDeque<(Range<usize>, E::Fetch)>,
    /// Bytes to be given next, if there are any.
    ready: Option<Vec<u8>>,
    crc: crc32fast::Hasher,
    sums: Vec<u8>,
    has_sums: bool,
}

/// What is to be done for the next chunk.
enum Next<E: Engine> {
    Bytes(Vec<u8>),
    /// Wait for this, hand it to [`Chunks::accept`], and go on.
    Fetch(Range<usize>, E::Fetch),
    End,
}

/// How often counts are asked for before a step is taken as not run: another thread may poll the
/// device, and its callbacks come a little after what was read.
const TRIES: u32 = 12;

/// How many chunks are on their way at once.
const IN_FLIGHT: usize = 2;

impl<E: Engine> Debug for Chunks<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl<'a, E: Engine> Chunks<'a, E> {
    pub(super) fn new(
        optimizer: &'a mut Optimizer<E>,
        wanted: Wanted,
        user: BTreeMap<String, String>,
        chunk_bytes: u64,
    ) -> Self {
        let (progress, stage) = (Progress::default(), Stage::Head { tries: 0 });
        Self { optimizer, wanted, user, chunk_bytes, progress, stage }
    }

    /// The bytes given so far, and all there will be, which are known once the first chunk is
    /// there.
    pub fn progress(&self) -> (u64, Option<u64>) {
        (self.progress.bytes, self.progress.total)
    }

    /// The next chunk; `None` after the last. For browsers and event loops: something else must
    /// poll the device.
    pub async fn next_chunk(&mut self) -> Option<Result<Vec<u8>, Error>> {
        loop {
            match self.advance() {
                Ok(Next::Bytes(bytes)) => return Some(Ok(bytes)),
                Ok(Next::End) => return None,
                Ok(Next::Fetch(pieces, fetch)) => {
                    let accepted = fetch.await.and_then(|fetched| self.accept(pieces, fetched));
                    if let Err(error) = accepted {
                        return Some(Err(self.failed(error)));
                    }
                }
                Err(error) => return Some(Err(self.failed(error))),
            }
        }
    }

    fn failed(&mut self, error: Error) -> Error {
        self.stage = Stage::Done;
        error
    }

    fn advance(&mut self) -> Result<Next<E>, Error> {
        let model = &self.optimizer.model;
        match &mut self.stage {
            Stage::Done => Ok(Next::End),
            Stage::Head { .. } => {
                Ok(Next::Fetch(0..0, self.optimizer.engine.fetch(model, &[], true)?))
            }
            Stage::Body(body) => {
                if let Some(bytes) = body.ready.take() {
                    self.progress.bytes += bytes.len() as u64;
                    return Ok(Next::Bytes(bytes));
                }
                while body.in_flight.len() < IN_FLIGHT && !body.rest.is_empty() {
                    let (batch, after) = body.batch(self.chunk_bytes);
                    let ranges = body.pieces[batch.clone()].iter();
                    let ranges: Vec<_> =
                        ranges.filter_map(|piece| Some(piece.range.as_ref()?.0.clone())).collect();
                    let fetch = self.optimizer.engine.fetch(model, &ranges, false)?;
                    body.in_flight.push_back((batch, fetch));
                    body.rest = after;
                }
                if let Some((batch, fetch)) = body.in_flight.pop_front() {
                    return Ok(Next::Fetch(batch, fetch));
                }
                if std::mem::replace(&mut body.has_sums, true) {
                    self.stage = Stage::Done;
                    return Ok(Next::End);
                }
                let sums = std::mem::take(&mut body.sums);
                self.progress.bytes += sums.len() as u64;
                Ok(Next::Bytes(sums))
            }
        }
    }

    fn accept(&mut self, batch: Range<usize>, fetched: Fetched) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Head { tries } => {
                if fetched.is_behind {
                    *tries += 1;
                    return if *tries == TRIES { Err(behind()) } else { Ok(()) };
                }
                let head = fetched.head.ok_or_else(behind)?;
                self.stage = Stage::Body(self.begin(&head));
            }
            Stage::Body(body) => body.accept(batch, fetched.bytes),
            Stage::Done => {}
        }
        Ok(())
    }

    /// What there is to write, now that counts are known.
    fn begin(&mut self, head: &Head) -> Body<E> {
        let Optimizer { model, control, .. } = &*self.optimizer;
        let snapshot = serde_json::json!(describe(model, control, head)).to_string();
        let own = [(keys::FORMAT.0, keys::FORMAT.1.to_owned()), (keys::SNAPSHOT, snapshot)];
        let own = own.map(|(key, value)| (key.to_owned(), value));
        let user = std::mem::take(&mut self.user).into_iter();
        let user = user.map(|(key, value)| (format!("{}{key}", keys::USER), value));
        let contents = contents::<E>(model, head, self.wanted);
        let header = header(&contents, user.chain(own).collect());
        let data = header.tensors.last().map_or(0, |checksum| checksum.bytes.end);
        let start = header.to_bytes();
        self.progress.total = Some(start.len() as u64 + data);
        let pieces = pieces::<E>(model, &contents, self.chunk_bytes);
        let (in_flight, crc, sums) = Default::default();
        Body {
            contents,
            rest: 0..pieces.len(),
            pieces,
            in_flight,
            ready: Some(start),
            crc,
            sums,
            has_sums: false,
        }
    }
}

impl<E: Engine> Body<E> {
    /// The next pieces, of at most about so many bytes together, and those after them.
    fn batch(&self, most: u64) -> (Range<usize>, Range<usize>) {
        let Range { start, end: last } = self.rest;
        let mut bytes = 0;
        let fits = |piece: &Piece| {
            bytes += piece.range.as_ref().map_or(0, |(_, bytes)| *bytes);
            bytes <= most
        };
        let count = self.pieces[start..last].iter().map(fits).take_while(|&fits| fits).count();
        let end = start + count.max(1);
        (start..end, end..last)
    }

    /// Makes a chunk of what was fetched for these pieces.
    fn accept(&mut self, batch: Range<usize>, fetched: Vec<u8>) {
        let is_whole = |piece: &Piece| {
            matches!(self.contents[piece.content].data, Data::Array { part: Part::All, .. })
        };
        // A piece of a large array is the chunk: nothing is copied.
        let chunk = match &self.pieces[batch.clone()] {
            [piece] if is_whole(piece) => {
                self.crc.update(&fetched);
                fetched
            }
            _ => self.gathered(batch.clone(), &fetched),
        };
        if let Some(Piece { is_last: true, .. }) = self.pieces[batch].last() {
            self.end_of_array();
        }
        self.ready = Some(chunk);
    }

    /// The bytes of several pieces, or of parts of them. The last one's checksum is still open.
    fn gathered(&mut self, batch: Range<usize>, mut fetched: &[u8]) -> Vec<u8> {
        let (mut chunk, last) = (Vec::with_capacity(fetched.len()), batch.end - 1);
        for index in batch {
            let piece = &self.pieces[index];
            let start = chunk.len();
            match (&self.contents[piece.content].data, &piece.range) {
                (Data::Array { part, .. }, Some((range, bytes))) => {
                    let (own, after) = fetched.split_at(*bytes as usize);
                    fetched = after;
                    take(*part, range, own, &mut chunk);
                }
                (Data::Known(bytes), _) => chunk.extend(bytes),
                (Data::Array { .. }, None) => {}
            }
            self.crc.update(&chunk[start..]);
            if piece.is_last && index < last {
                self.end_of_array();
            }
        }
        chunk
    }

    fn end_of_array(&mut self) {
        let crc = std::mem::take(&mut self.crc).finalize();
        self.sums.extend(crc.to_le_bytes());
    }
}

fn behind() -> Error {
    Error::Setting {
        expected: "every recorded step to have run, so that all that is saved is of one step"
            .into(),
        remedy: "Submit the commands of the recorded steps first, or drop them".into(),
    }
}

impl<E: Engine> Chunks<'_, E>
where
    E::Fetch: Wait,
{
    /// Before counts are asked for again, twice as long each time: two seconds in all.
    fn let_others_run(&self) {
        if let Stage::Head { tries: tries @ 1.. } = self.stage {
            std::thread::sleep(std::time::Duration::from_millis(1 << (tries - 1)));
        }
    }
}

impl<E: Engine> Iterator for Chunks<'_, E>
where
    E::Fetch: Wait,
{
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.advance() {
                Ok(Next::Bytes(bytes)) => return Some(Ok(bytes)),
                Ok(Next::End) => return None,
                Ok(Next::Fetch(pieces, fetch)) => {
                    self.let_others_run();
                    let accepted = fetch.wait().and_then(|fetched| self.accept(pieces, fetched));
                    if let Err(error) = accepted {
                        return Some(Err(self.failed(error)));
                    }
                }
                Err(error) => return Some(Err(self.failed(error))),
            }
        }
    }
}
