//! The bytes of a pickle, read in order and never beyond their end.

use super::value::Span;

/// A pickle and a place in it.
pub(super) struct Input<'a> {
    data: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let bytes = rest.first_chunk::<N>().ok_or("it ends")?;
        self.at += N;
        Ok(*bytes)
    }

    pub(super) fn skip(&mut self, n: u64) -> Result<(), String> {
        self.span(n).map(drop)
    }

    /// The next `n` bytes.
    pub(super) fn span(&mut self, n: u64) -> Result<Span, String> {
        let left = self.data.len().saturating_sub(self.at);
        if n > left as u64 {
            return Err(format!("{n} bytes should follow, but there are {left}"));
        }
        let start = self.at;
        self.at += n as usize;
        Ok(start as u32..self.at as u32)
    }

    pub(super) fn bytes(&self, span: &Span) -> &'a [u8] {
        let bytes = self.data.get(span.start as usize..span.end as usize);
        bytes.unwrap_or_default()
    }

    /// The length that stands before a text, bytes or an integer.
    pub(super) fn length(&mut self, op: u8) -> Result<u64, String> {
        Ok(match op {
            0x8a | 0x8c | b'U' | b'C' => {
                let [byte] = self.take()?;
                byte.into()
            }
            0x8d | 0x8e | 0x96 => u64::from_le_bytes(self.take()?),
            _ => u32::from_le_bytes(self.take()?).into(),
        })
    }

    /// The place of a text that ends with its line.
    pub(super) fn line(&mut self) -> Result<Span, String> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|b| *b == b'\n');
        let span = self.span(end.ok_or("a name has no end")? as u64)?;
        self.skip(1)?;
        match std::str::from_utf8(self.bytes(&span)) {
            Ok(_) => Ok(span),
            Err(_) => Err("a name is not UTF-8".to_owned()),
        }
    }
}
