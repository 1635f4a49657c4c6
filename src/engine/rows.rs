//! The rows of a network as a list: what is known of each without running it.

use super::Settings;
use crate::attention::Mechanism;
use crate::checkpoint::Model;
use crate::yolo::Module;

/// One row.
#[derive(Debug, Clone)]
pub struct RowInfo {
    /// Row of the network.
    pub row: usize,
    /// Rows that feed it; `None` is the picture.
    pub from: Vec<Option<usize>>,
    /// Module name as in the file.
    pub module: String,
    /// Whether it only looks.
    pub probe: bool,
    /// Its mechanism, if it is an attention row.
    pub mechanism: Option<&'static Mechanism>,
    /// Pixels of the network input per cell of the output.
    pub stride: f64,
    /// Output channels.
    pub channels: usize,
    /// Channels, height and width of the map that it puts out; `None` if it puts out boxes.
    pub shape: Option<[usize; 3]>,
    /// Numbers in its weights; running statistics are not counted.
    pub parameters: usize,
}

impl RowInfo {
    /// Memory of its map, in bytes.
    pub fn bytes(&self) -> Option<usize> {
        let [c, h, w] = self.shape?;
        Some(size_of::<f32>() * c * h * w)
    }

    /// The rows that feed it, as in a definition: −1 is the picture.
    pub fn sources(&self) -> impl Iterator<Item = i64> {
        self.from.iter().map(|f| f.map_or(-1, |i| i as i64))
    }

    /// The rows that feed it in words: `4,6`.
    pub fn sources_text(&self) -> String {
        let sources: Vec<String> = self.sources().map(|i| i.to_string()).collect();
        sources.join(",")
    }

    /// Channels, height and width in words: `64×40×40`.
    pub fn shape_text(&self) -> String {
        match self.shape {
            Some([c, h, w]) => format!("{c}×{h}×{w}"),
            None => "boxes".into(),
        }
    }

    /// Memory of its map in words: `400 kB`.
    pub fn size_text(&self) -> String {
        match self.bytes() {
            Some(bytes) if bytes >= 10_000_000 => format!("{} MB", bytes / 1_000_000),
            Some(bytes) if bytes >= 1_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
            Some(bytes) => format!("{} kB", bytes.div_ceil(1000)),
            None => String::new(),
        }
    }
}

/// Every row of a model, with the shapes at the input size in use.
pub fn rows(model: &Model, settings: &Settings) -> Vec<RowInfo> {
    let (size, _) = settings.size_on(model);
    let network = &model.network;
    let layers = network.layers().iter().enumerate();
    let info = layers.map(|(row, layer)| {
        let side = (size as f64 / layer.stride).ceil() as usize;
        let boxes = matches!(layer.module, Module::Detect(_));
        RowInfo {
            row,
            from: layer.from.clone(),
            module: layer.name.clone(),
            probe: layer.probe,
            mechanism: network.attention_at(row).map(|a| a.mechanism()),
            stride: layer.stride,
            channels: layer.channels,
            shape: (!boxes).then_some([layer.channels, side, side]),
            parameters: model.report.of_row(row),
        }
    });
    info.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_in_three_digits() {
        let text = |shape| {
            let info = RowInfo {
                row: 0,
                from: vec![None, Some(4)],
                module: String::new(),
                probe: false,
                mechanism: None,
                stride: 1.0,
                channels: 0,
                shape,
                parameters: 0,
            };
            (info.size_text(), info.shape_text(), info.sources_text())
        };
        assert_eq!(text(Some([64, 40, 40])).0, "410 kB");
        assert_eq!(text(Some([16, 160, 160])).0, "1.6 MB");
        assert_eq!(text(Some([64, 320, 320])).0, "26 MB");
        let boxes = (String::new(), "boxes".to_owned(), "-1,4".to_owned());
        assert_eq!(text(None), boxes);
        assert_eq!(text(Some([2, 3, 4])).1, "2×3×4");
    }
}
