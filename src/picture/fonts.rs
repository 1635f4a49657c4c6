//! Fonts of the system for letters that the program's own typefaces lack: Chinese, Arabic and so
//! on. Found and loaded when a text first needs one, then kept to the end of the program.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ab_glyph::{Font as _, FontRef};
use fontdb::{Database, FaceInfo, ID, Style, Weight};

use super::text;

/// A font that was found.
pub struct Found {
    /// Its name, for people and as a key.
    pub name: String,
    /// The file.
    pub data: &'static [u8],
    /// Which of the fonts in the file.
    pub index: u32,
    /// The same, read.
    pub(super) font: FontRef<'static>,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Found({}, {} bytes)", self.name, self.data.len())
    }
}

/// What a text needs beyond the program's own typefaces.
#[derive(Debug, Default)]
pub struct Covered {
    /// The fonts that hold its other letters.
    pub fonts: Vec<Arc<Found>>,
    /// Letters that no font has, each once.
    pub missing: Vec<char>,
}

impl Covered {
    /// What to install so that everything shows; nothing if nothing is missing.
    pub fn advice(&self) -> Option<String> {
        let first: String = self.missing.iter().take(8).collect();
        let font = self.missing.first().copied().map(font_for)?;
        Some(format!(
            "No font on this computer has the letters {}; they are shown as numbers. Install {font} and start again.",
            escaped(&first, |_| true)
        ))
    }
}

/// Fonts of the system that a text needs, and the letters that none of them has.
///
/// The first text with foreign letters looks through the fonts of the system, which takes a few
/// tenths of a second.
pub fn covering(text: &str) -> Covered {
    system().covering(text)
}

/// The text with letters that no font has written as `\u{4E2D}`.
pub fn legible(text: &str) -> Cow<'_, str> {
    system().legible(text)
}

/// All the fonts of the system.
pub fn system() -> &'static Finder {
    static SYSTEM: OnceLock<Finder> = OnceLock::new();
    SYSTEM.get_or_init(|| Finder::new(None))
}

/// Looks for fonts in a place.
pub struct Finder {
    /// Where; `None` is where the system has them.
    folder: Option<PathBuf>,
    database: OnceLock<Database>,
    known: Mutex<Known>,
}

/// What was looked for before.
#[derive(Default)]
struct Known {
    letters: BTreeMap<char, Option<Arc<Found>>>,
    loaded: BTreeMap<ID, Arc<Found>>,
}

impl Finder {
    /// Finds fonts below a folder, or those of the system.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            database: OnceLock::new(),
            known: Mutex::default(),
        }
    }

    /// See [`covering`].
    pub fn covering(&self, text: &str) -> Covered {
        let mut covered = Covered::default();
        for c in text.chars().filter(|&c| !text::is_own(c)) {
            match self.font_of(c, text) {
                Some(font) if !covered.fonts.iter().any(|f| Arc::ptr_eq(f, &font)) => {
                    covered.fonts.push(font);
                }
                None if !covered.missing.contains(&c) => covered.missing.push(c),
                _ => {}
            }
        }
        covered
    }

    /// See [`legible`].
    pub fn legible<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match text.chars().all(text::is_own) {
            true => Cow::Borrowed(text),
            false => escaped(text, |c| {
                !text::is_own(c) && self.font_of(c, text).is_none()
            })
            .into(),
        }
    }

    /// The font for a letter that the program's own typefaces lack. Where none is known yet, the
    /// one that has the most of the letters of `text`.
    pub fn font_of(&self, letter: char, text: &str) -> Option<Arc<Found>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(font) = known.letters.get(&letter) {
            return font.clone();
        }
        // One of those in use, if it serves: fewer fonts, and a text that looks of a piece.
        let in_use = known
            .loaded
            .values()
            .find(|f| has(&f.font, letter))
            .cloned();
        let font = in_use.or_else(|| self.search(letter, text, &mut known.loaded));
        known.letters.insert(letter, font.clone());
        font
    }

    fn search(
        &self,
        letter: char,
        text: &str,
        loaded: &mut BTreeMap<ID, Arc<Found>>,
    ) -> Option<Arc<Found>> {
        let database = self.database();
        let mut foreign: Vec<char> = text.chars().filter(|&c| !text::is_own(c)).collect();
        foreign.sort_unstable();
        foreign.dedup();
        let serves = |face: &&FaceInfo| {
            let count = |data: &[u8], index: u32| {
                let font = FontRef::try_from_slice_and_index(data, index).ok()?;
                has(&font, letter).then(|| foreign.iter().filter(|&&c| has(&font, c)).count())
            };
            database.with_face_data(face.id, count).flatten()
        };
        let candidates = database
            .faces()
            .filter_map(|face| Some((serves(&face)?, face)));
        let (_, best) = candidates.min_by_key(|&(count, face)| (Reverse(count), rank(face)))?;
        let found = load(database, best)?;
        loaded.insert(best.id, found.clone());
        Some(found)
    }

    fn database(&self) -> &Database {
        self.database.get_or_init(|| {
            let mut database = Database::new();
            match &self.folder {
                Some(folder) => database.load_fonts_dir(folder),
                None => database.load_system_fonts(),
            }
            database
        })
    }
}

/// Whether a font can draw a letter. Fonts of coloured pictures know letters that they have no
/// outline for.
fn has(font: &FontRef<'_>, letter: char) -> bool {
    let id = font.glyph_id(letter);
    id.0 != 0 && font.outline(id).is_some()
}

/// The smaller the better: plain upright sans-serif faces made for reading on screens first, then
/// by name, so that the choice is the same every time.
fn rank(face: &FaceInfo) -> impl Ord + use<> {
    const FIRST: [&str; 8] = [
        "Noto Sans CJK SC",
        "Noto Sans SC",
        "Source Han Sans SC",
        "Microsoft YaHei",
        "PingFang SC",
        "Noto Sans Arabic",
        "Segoe UI",
        "DejaVu Sans",
    ];
    let family = face.families.first().map_or("", |(name, _)| name);
    let slanted = face.style != Style::Normal;
    let weight = face.weight.0.abs_diff(Weight::NORMAL.0);
    let plain = !family.contains("Sans") || family.contains("Mono") || face.monospaced;
    let place = FIRST.iter().position(|name| *name == family);
    (
        slanted,
        weight,
        place.unwrap_or(FIRST.len()),
        plain,
        family.to_owned(),
        face.post_script_name.clone(),
    )
}

/// Reads a font for good: at most a few are ever loaded, and both the window and figures draw with
/// them to the end.
fn load(database: &Database, face: &FaceInfo) -> Option<Arc<Found>> {
    let (data, index) = database.with_face_data(face.id, |data, index| (data.to_vec(), index))?;
    let data: &'static [u8] = Vec::leak(data);
    Some(Arc::new(Found {
        name: face.post_script_name.clone(),
        font: FontRef::try_from_slice_and_index(data, index).ok()?,
        data,
        index,
    }))
}

/// A text with some of its letters as numbers.
fn escaped(text: &str, which: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match which(c) {
            true => {
                let _ = write!(out, "\\u{{{:X}}}", u32::from(c));
            }
            false => out.push(c),
        }
    }
    out
}

/// A font that has a letter, free and for every system.
fn font_for(letter: char) -> &'static str {
    match u32::from(letter) {
        0x0590..=0x05FF => "Noto Sans Hebrew",
        0x0600..=0x06FF | 0x0750..=0x077F | 0x08A0..=0x08FF | 0xFB50..=0xFEFF => "Noto Sans Arabic",
        0x0900..=0x097F => "Noto Sans Devanagari",
        0x0E00..=0x0E7F => "Noto Sans Thai",
        0x1100..=0x11FF
        | 0x2E80..=0x9FFF
        | 0xAC00..=0xD7FF
        | 0xF900..=0xFAFF
        | 0xFF00..=0xFFEF
        | 0x20000..=0x3FFFF => "Noto Sans CJK",
        _ => "Noto Sans",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fonts of `tests/fonts`: a few letters each.
    fn test_fonts() -> Finder {
        Finder::new(Some("tests/fonts".into()))
    }

    fn no_fonts() -> (tempfile::TempDir, Finder) {
        let folder = tempfile::tempdir().unwrap();
        let finder = Finder::new(Some(folder.path().to_owned()));
        (folder, finder)
    }

    #[test]
    fn a_text_gets_the_fonts_it_needs_and_no_other() {
        let finder = test_fonts();
        let covered = finder.covering("猫 кот");
        let names: Vec<_> = covered.fonts.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["NotoSansCJKsc-Regular"], "Cyrillic is our own");
        assert!(covered.missing.is_empty());
        let both = finder.covering("قطة 中文");
        assert_eq!(both.fonts.len(), 2);
        assert_eq!(both.advice(), None);
        assert_eq!(finder.legible("中文 cat"), "中文 cat");
    }

    #[test]
    fn latin_and_cyrillic_look_for_nothing() {
        let finder = test_fonts();
        assert!(finder.covering("Größe кот – 3×3 → …").fonts.is_empty());
        assert!(finder.database.get().is_none());
    }

    #[test]
    fn without_a_font_letters_are_numbers_and_the_note_names_one() {
        let (_folder, finder) = no_fonts();
        assert_eq!(finder.legible("中 cat"), "\\u{4E2D} cat");
        let covered = finder.covering("中文中");
        assert_eq!(covered.missing, ['中', '文']);
        let note = covered.advice().unwrap();
        assert!(
            note.contains("\\u{4E2D}\\u{6587}") && note.contains("Noto Sans CJK"),
            "{note}"
        );
        let note = finder.covering("قطة").advice().unwrap();
        assert!(note.contains("Noto Sans Arabic"), "{note}");
    }

    #[test]
    fn one_letter_of_many_may_be_missing() {
        let finder = test_fonts();
        assert_eq!(finder.legible("中国"), "中\\u{56FD}");
        assert_eq!(finder.covering("中国").missing, ['国']);
    }

    #[test]
    fn a_broken_font_is_passed_over() {
        let (folder, finder) = no_fonts();
        let bytes = std::fs::read("tests/fonts/chinese.otf").unwrap();
        std::fs::write(folder.path().join("cut.otf"), &bytes[..bytes.len() / 2]).unwrap();
        std::fs::write(folder.path().join("noise.ttf"), [7; 999]).unwrap();
        assert_eq!(finder.covering("中").missing, ['中']);
    }
}
