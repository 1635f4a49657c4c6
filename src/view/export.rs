//! What a view can be written as.

use std::path::Path;

use candle_core::Tensor;

use super::{Computed, DETECTIONS, View};
use crate::attention::view::Answer;
use crate::engine::{self, Detected, Scene};
use crate::files::csv::Csv;
use crate::files::npz;
use crate::{Error, Result};

/// A form to write a view in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Export {
    /// Pixels, so many per point.
    Png(f32),
    /// Vectors.
    Svg,
    /// The numbers of the map as text.
    Csv,
    /// The numbers of the map and of what stands beside it, with their shapes.
    Npz,
}

impl Export {
    /// Every form, by the ending of its files.
    pub const ENDINGS: [&'static str; 4] = ["png", "svg", "csv", "npz"];

    /// The form that the ending of a path asks for; `scale` is pixels per point.
    ///
    /// # Errors
    /// If the ending is none of [`Export::ENDINGS`].
    pub fn for_path(path: &Path, scale: f32) -> Result<Self> {
        let ending = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        match ending.to_ascii_lowercase().as_str() {
            "png" => Ok(Self::Png(scale)),
            "svg" => Ok(Self::Svg),
            "csv" => Ok(Self::Csv),
            "npz" => Ok(Self::Npz),
            _ => {
                let problem = match ending.is_empty() {
                    true => "its name has no ending".to_owned(),
                    false => format!("no figure is written as .{ending}"),
                };
                Err(Error::path(
                    path,
                    problem,
                    "a name that ends in .png, .svg, .csv or .npz",
                ))
            }
        }
    }

    /// The file of a view.
    ///
    /// # Errors
    /// One sentence if there is nothing to write; see [`View::figure`].
    pub fn bytes(self, view: &View, of: Computed<'_>) -> std::result::Result<Vec<u8>, String> {
        match self {
            Self::Png(scale) => view.figure(of)?.png(scale).map_err(|e| e.to_string()),
            Self::Svg => Ok(view.figure(of)?.svg().into_bytes()),
            Self::Csv if view.pane == DETECTIONS => {
                let detected = of.detected.ok_or("there are no detections yet")?;
                Ok(detections_csv(of.scene, detected).into_bytes())
            }
            Self::Csv => Ok(engine::view_csv(&view.answered(of)?.1.view).into_bytes()),
            Self::Npz if view.pane == DETECTIONS => {
                Err("detections are words and numbers; a CSV holds them".into())
            }
            Self::Npz => npz(&view.answered(of)?.1),
        }
    }
}

/// One line per box: class, score, and corners in pixels of the photograph.
fn detections_csv(scene: &Scene, detected: &Detected) -> String {
    let mut csv = Csv::new(["class", "score", "x0", "y0", "x1", "y1"]);
    for d in &detected.list {
        let class = engine::class_name(scene, d.class);
        let numbers = std::iter::once(d.score).chain(d.rect);
        csv.line(std::iter::once(class).chain(numbers.map(|v| v.to_string())));
    }
    csv.finish()
}

fn npz(answer: &Answer) -> std::result::Result<Vec<u8>, String> {
    let words = |e: &dyn std::fmt::Display| format!("the numbers cannot be written ({e})");
    let arrays = engine::answer_arrays(answer).map_err(|e| words(&e))?;
    if arrays.is_empty() {
        return Err("this answer is words; a CSV holds them".into());
    }
    let named: Vec<(String, Tensor)> = arrays.into_iter().map(|a| (a.name, a.tensor)).collect();
    let file = tempfile::NamedTempFile::new().map_err(|e| words(&e))?;
    npz::write(file.path(), &named).map_err(|e| words(&e))?;
    std::fs::read(file.path()).map_err(|e| words(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_decides() {
        let of = |path: &str| Export::for_path(Path::new(path), 2.0);
        assert_eq!(of("a/b.PNG").unwrap(), Export::Png(2.0));
        assert_eq!(of("x.svg").unwrap(), Export::Svg);
        for bad in ["x", "x.pdf", "svg"] {
            let message = of(bad).unwrap_err().to_string();
            assert!(message.contains(".png, .svg, .csv or .npz"), "{message}");
        }
    }
}
