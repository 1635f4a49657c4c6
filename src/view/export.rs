//! What a view can be written as.

use std::path::Path;

use super::{Computed, View};
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
            Self::Svg | Self::Csv | Self::Npz => Err("not yet".into()),
        }
    }
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
