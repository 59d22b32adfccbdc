//! Lines on their way to a descriptor: a bounded queue, and a thread that writes what is in it.
//!
//! Nothing that has a line ever waits for the descriptor's reader. A reader that is slow, has stalled or has gone costs lines, which are
//! counted, and costs the end of the process no more time than [`Writer::flush`] is given.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that one call writes, about: lines that came together go together.
const BATCH: usize = 64 << 10;

/// Before a descriptor is tried again that another process has made non-blocking.
const PAUSE: Duration = Duration::from_millis(10);

/// The queue's side for those who have lines.
pub(super) struct Writer(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Told when there is a line to write.
    filled: Condvar,
    /// Told when nothing is left to write.
    empty: Condvar,
    /// Lines that may wait.
    limit: usize,
    left_out: AtomicU64,
    failed: AtomicU64,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Box<[u8]>>,
    /// Whether the thread has lines of which it is not known yet what becomes of them.
    is_writing: bool,
}

impl Writer {
    /// Starts the thread `name`, which writes to `output`; `limit` lines may wait for it.
    pub(super) fn start(name: &str, limit: usize, output: impl AsFd) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            empty: Condvar::new(),
            limit,
            left_out: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        // A descriptor of its own: the standard library's have buffers and locks, on which the end of the process would wait. Without
        // one, or without a thread, lines wait until there is no room for more, and are counted.
        if let Ok(output) = output.as_fd().try_clone_to_owned() {
            let shared = Arc::clone(&shared);
            let _ = std::thread::Builder::new().name(name.to_owned()).spawn(move || shared.write_all(output));
        }
        Self(shared)
    }

    /// Queues a line, which ends with a newline. Without room for it, it is left out and counted.
    pub(super) fn push(&self, line: &[u8]) {
        let mut queue = self.0.queue();
        if queue.lines.len() < self.0.limit {
            queue.lines.push_back(line.into());
            self.0.filled.notify_one();
        } else {
            self.0.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that the queue had no room for.
    pub(super) fn left_out(&self) -> u64 {
        self.0.left_out.load(Ordering::Relaxed)
    }

    /// Lines that could not be written: a full disk, a reader that has gone.
    pub(super) fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Waits until everything is written that was queued, or until `end`.
    pub(super) fn flush(&self, end: Instant) {
        let left = end.saturating_duration_since(Instant::now());
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.lines.is_empty();
        let _ = self.0.empty.wait_timeout_while(self.0.queue(), left, is_busy);
    }
}

/// For the log's formatter, which hands over a whole line at a time.
impl Write for &Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes for as long as the process lives.
    fn write_all(&self, output: OwnedFd) {
        let mut output = File::from(output);
        let mut batch = Vec::with_capacity(BATCH);
        let mut is_torn = false;
        loop {
            batch.clear();
            self.take(&mut batch);
            if is_torn {
                // What was written of the line before must not spoil the next.
                is_torn = write(&mut output, b"\n") == 0;
            }
            let written = if is_torn { 0 } else { write(&mut output, &batch) };
            let (done, lost) = batch.split_at(written);
            let lost = lost.iter().filter(|byte| **byte == b'\n').count();
            self.failed.fetch_add(lost as u64, Ordering::Relaxed);
            is_torn = done.last().map_or(is_torn, |last| *last != b'\n');
        }
    }

    /// Waits for lines, and moves a batch of them over.
    fn take(&self, batch: &mut Vec<u8>) {
        let mut queue = self.queue();
        queue.is_writing = false;
        if queue.lines.is_empty() {
            self.empty.notify_all();
        }
        queue = self.filled.wait_while(queue, |queue| queue.lines.is_empty()).unwrap_or_else(PoisonError::into_inner);
        queue.is_writing = true;
        while batch.len() < BATCH
            && let Some(line) = queue.lines.pop_front()
        {
            batch.extend_from_slice(&line);
        }
    }
}

/// How much of `bytes` could be written.
fn write(output: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match output.write(rest) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(_) => break,
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read, pipe};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn writer(limit: usize) -> (Writer, PipeReader) {
        let (reader, output) = pipe().unwrap();
        (Writer::start("test", limit, output), reader)
    }

    fn read(reader: &mut PipeReader, length: usize) -> String {
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_are_written_in_order() {
        let (writer, mut reader) = writer(10);
        for line in ["one\n", "two\n", "three\n"] {
            writer.push(line.as_bytes());
        }
        writer.flush(Instant::now() + PATIENCE);
        assert_eq!(read(&mut reader, 14), "one\ntwo\nthree\n");
        assert_eq!((writer.left_out(), writer.failed()), (0, 0));
    }

    /// The pipe is full, the thread is in a write that does not end, the queue is full: whoever has a line goes on, and so does the end.
    #[test]
    fn a_reader_that_has_stalled_costs_lines_and_no_time() {
        let (writer, _reader) = writer(4);
        let line = [b"x".repeat(200_000), b"\n".to_vec()].concat();
        let deadline = Instant::now() + PATIENCE;
        while writer.left_out() < 10 && Instant::now() < deadline {
            writer.push(&line);
        }
        assert!(writer.left_out() >= 10);
        writer.flush(Instant::now() + Duration::from_millis(10));
        assert_eq!(writer.failed(), 0);
    }

    #[test]
    fn a_reader_that_has_gone_is_counted() {
        let (writer, reader) = writer(10);
        drop(reader);
        writer.push(b"one\n");
        writer.push(b"two\n");
        writer.flush(Instant::now() + PATIENCE);
        assert_eq!(writer.failed(), 2);
    }

    #[test]
    fn what_was_written_in_part_does_not_spoil_the_next_line() {
        /// Takes three bytes, fails once, and then takes everything.
        struct Full(Vec<io::Result<usize>>, Vec<u8>);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let taken = self.0.pop().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
                self.1.extend_from_slice(&bytes[..taken]);
                Ok(taken)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut output =
            Full(vec![Err(io::ErrorKind::StorageFull.into()), Err(io::ErrorKind::Interrupted.into()), Ok(3)], vec![]);
        assert_eq!(write(&mut output, b"one two\n"), 3);
        assert_eq!(write(&mut output, b"\nthree\n"), 7);
        assert_eq!(output.1, b"one\nthree\n");
    }
}
