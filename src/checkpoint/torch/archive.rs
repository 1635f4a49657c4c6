//! The zip archive that `torch.save` writes: one pickle, and the raw bytes of each storage.

use std::collections::HashMap;
use std::io::{BufReader, Read};

use zip::{CompressionMethod, ZipArchive};

use crate::checkpoint::bytes::{Bytes, Reader};

/// The pickle of a module with its optimizer stays below 10 MB.
const MAX_PICKLE: u64 = 32 << 20;
/// How files of `torch.save` begin since 1.6, and before.
const ZIP: &[u8] = b"PK\x03\x04";
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// What every file should be, for messages.
const EXPECTED: &str = "a checkpoint as torch.save writes it";

/// The opened archive.
pub(super) struct Archive {
    /// The bytes of `data.pkl`.
    pub(super) pickle: Vec<u8>,
    /// First byte and length of each storage, by its key.
    pub(super) storages: HashMap<String, (u64, u64)>,
}

impl Archive {
    /// Reads the directory and the pickle; the storages stay where they are.
    ///
    /// # Errors
    /// One sentence on what is wrong with the file.
    pub(super) fn open(bytes: &Bytes) -> Result<Self, String> {
        if bytes.len() == 0 {
            return Err("the file is empty".into());
        }
        let start = bytes.read(0, bytes.len().min(LEGACY.len() as u64));
        let start = start.map_err(|e| format!("it cannot be read ({e})"))?;
        if start.starts_with(LEGACY) {
            return Err(
                "it is in the format of PyTorch before 1.6; expected a zip archive: \
                 load it with torch.load and save it again with torch.save"
                    .into(),
            );
        }
        if !start.starts_with(ZIP) {
            return Err(format!("it is no zip archive; expected {EXPECTED}"));
        }
        let mut zip = ZipArchive::new(BufReader::new(bytes.reader())).map_err(damaged)?;
        let root = root(&zip)?;
        let pickle = pickle(&mut zip, &format!("{root}data.pkl"))?;
        little_endian(&mut zip, &format!("{root}byteorder"))?;
        let mut storages = HashMap::new();
        for i in 0..zip.len() {
            let entry = zip.by_index_raw(i).map_err(damaged)?;
            let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
            let Some(key) = name
                .strip_prefix(root.as_str())
                .and_then(|n| n.strip_prefix("data/"))
            else {
                continue;
            };
            if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
                return Err(format!("{name} in it is packed; expected {EXPECTED}"));
            }
            let length = entry.size();
            let place = entry
                .data_start()
                .filter(|at| at.checked_add(length).is_some_and(|end| end <= bytes.len()));
            let Some(at) = place else {
                return Err(format!("it is shorter than its directory says: {name}"));
            };
            storages.insert(key.to_owned(), (at, length));
        }
        Ok(Self { pickle, storages })
    }
}

fn damaged(e: zip::result::ZipError) -> String {
    format!("its zip archive is damaged or cut off ({e}); expected {EXPECTED}")
}

type Zip<'a> = ZipArchive<BufReader<Reader<'a>>>;

/// The folder that everything lies in, with its slash.
fn root(zip: &Zip<'_>) -> Result<String, String> {
    let mut roots = Vec::new();
    for name in zip.file_names_raw().map(String::from_utf8_lossy) {
        if name.contains("/code/") {
            return Err(
                "it is a TorchScript program; expected the checkpoint it was made from".into(),
            );
        }
        if let Some(root) = name.strip_suffix("data.pkl")
            && (root.is_empty() || root.ends_with('/'))
        {
            roots.push(root.to_owned());
        }
    }
    roots.sort_by_key(String::len);
    let first = roots.into_iter().next();
    first.ok_or_else(|| format!("there is no data.pkl in it; expected {EXPECTED}"))
}

fn pickle(zip: &mut Zip<'_>, name: &str) -> Result<Vec<u8>, String> {
    let entry = zip.by_name(name).map_err(damaged)?;
    let size = entry.size();
    if size > MAX_PICKLE {
        return Err(format!(
            "{name} in it has {size} bytes; expected at most {MAX_PICKLE}"
        ));
    }
    let mut pickle = Vec::new();
    let read = entry.take(MAX_PICKLE).read_to_end(&mut pickle);
    read.map_err(|e| format!("{name} in it is damaged ({e}); expected {EXPECTED}"))?;
    Ok(pickle)
}

/// Refuses the archives of big-endian machines; older ones do not say what they are.
fn little_endian(zip: &mut Zip<'_>, name: &str) -> Result<(), String> {
    let Ok(entry) = zip.by_name(name) else {
        return Ok(());
    };
    let mut order = Vec::new();
    let read = entry.take(16).read_to_end(&mut order);
    match read.is_ok() && order != b"big" {
        true => Ok(()),
        false => Err("its numbers are big-endian; expected little-endian ones".into()),
    }
}
