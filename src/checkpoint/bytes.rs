//! The bytes of a weights file, read piece by piece where they lie.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

/// A file on disk, or bytes in memory. Nothing is mapped into memory: a file that another program
/// shortens gives an error and no crash.
#[derive(Debug)]
pub(super) enum Bytes {
    Memory(Cow<'static, [u8]>),
    File {
        file: Mutex<File>,
        /// As it was when the file was opened.
        len: u64,
    },
}

impl Bytes {
    pub(super) fn file(file: File, len: u64) -> Self {
        let file = Mutex::new(file);
        Self::File { file, len }
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// `length` bytes from `at` on. Nothing is allocated for bytes that are not there.
    pub(super) fn read(&self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        let inside = at.checked_add(length).is_some_and(|end| end <= self.len());
        let length = usize::try_from(length).ok().filter(|_| inside);
        let length = length.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut bytes = vec![0; length];
        self.reader_at(at).read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// From the start.
    pub(super) fn reader(&self) -> Reader<'_> {
        self.reader_at(0)
    }

    fn reader_at(&self, at: u64) -> Reader<'_> {
        Reader { bytes: self, at }
    }
}

/// A place in [`Bytes`], for readers of archives.
pub(super) struct Reader<'a> {
    bytes: &'a Bytes,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.bytes {
            Bytes::Memory(bytes) => {
                let start = usize::try_from(self.at).unwrap_or(usize::MAX);
                let mut rest = bytes.get(start..).unwrap_or_default();
                rest.read(buffer)?
            }
            Bytes::File { file, .. } => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(self.at))?;
                file.read(buffer)?
            }
        };
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.bytes.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
