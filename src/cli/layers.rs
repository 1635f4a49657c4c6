//! `attnscope layers`: the rows of a model, its attention layers and their knobs.

use std::io::Write;

use candle_core::Device;
use serde::Serialize;

use super::analyze::open_model;
use super::args::LayersArgs;
use crate::attention::{Knob, KnobValue};
use crate::checkpoint::Model;
use crate::engine::{RowInfo, Settings, rows};
use crate::{Error, Result};

#[derive(Serialize)]
struct Listing {
    model: String,
    parameters: usize,
    classes: Vec<String>,
    heads: Vec<&'static str>,
    /// Side of the network input that the ranges are stated for.
    imgsz: usize,
    best_imgsz: usize,
    layers: Vec<LayerInfo>,
}

#[derive(Serialize)]
struct LayerInfo {
    /// What the table for people is made of.
    #[serde(skip)]
    info: RowInfo,
    row: usize,
    /// Rows that feed it; −1 is the picture.
    from: Vec<i64>,
    module: String,
    channels: usize,
    stride: f64,
    /// Channels, height and width of the map that it puts out; absent if it puts out boxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    shape: Option<[usize; 3]>,
    parameters: usize,
    /// Memory of that map.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attention: Option<AttentionInfo>,
}

#[derive(Serialize)]
struct AttentionInfo {
    mechanism: &'static str,
    title: &'static str,
    /// Height and width of the feature map.
    map: [usize; 2],
    knobs: Vec<KnobInfo>,
}

#[derive(Serialize)]
struct KnobInfo {
    #[serde(flatten)]
    knob: Knob,
    /// Range the weights were trained with, if the card states it.
    trained: Option<[KnobValue; 2]>,
}

/// Runs the command.
///
/// # Errors
/// What is wrong with the model.
pub(super) fn run(args: &LayersArgs) -> Result<()> {
    let model = open_model(args.model.as_deref(), &Device::Cpu)?;
    let listing = listing(&model, args.imgsz);
    let mut out = std::io::stdout().lock();
    let written = if args.json {
        serde_json::to_writer_pretty(&mut out, &listing)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        print(&mut out, &listing)
    };
    match written {
        // A reader that has seen enough, such as `head`, is no error.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(e) => Err(Error::Setting(format!("the list cannot be printed ({e})"))),
        Ok(()) => Ok(()),
    }
}

fn listing(model: &Model, size: Option<usize>) -> Listing {
    let settings = Settings {
        size,
        ..Settings::default()
    };
    let (imgsz, _) = settings.size_on(model);
    let network = &model.network;
    let layers = rows(model, &settings).into_iter().map(|info| {
        let row = info.row;
        let attention = network.attention_at(row).map(|a| AttentionInfo {
            mechanism: a.mechanism().id,
            title: a.mechanism().title,
            map: network.map_size(row, [imgsz, imgsz]),
            knobs: settings
                .legal(model, row)
                .unwrap_or_default()
                .knobs
                .into_iter()
                .map(|knob| KnobInfo {
                    trained: model.card.trained.get(knob.name).copied(),
                    knob,
                })
                .collect(),
        });
        LayerInfo {
            row,
            from: info.sources().collect(),
            module: info.module.clone(),
            channels: info.channels,
            stride: info.stride,
            shape: info.shape,
            parameters: info.parameters,
            bytes: info.bytes(),
            attention,
            info,
        }
    });
    Listing {
        model: model.name.clone(),
        parameters: model.report.parameters,
        classes: model.classes.clone(),
        heads: network.heads().iter().map(|h| h.name()).collect(),
        imgsz,
        best_imgsz: model.best_size(),
        layers: layers.collect(),
    }
}

fn print(out: &mut impl Write, l: &Listing) -> std::io::Result<()> {
    writeln!(
        out,
        "{}: {} layers, {} parameters, {} classes, heads {}",
        l.model,
        l.layers.len(),
        l.parameters,
        l.classes.len(),
        l.heads.join(" and ")
    )?;
    writeln!(
        out,
        "shapes and ranges at input size {} (best {})\n",
        l.imgsz, l.best_imgsz
    )?;
    writeln!(
        out,
        "{:>3}  {:<12} {:<24} {:>12} {:>6} {:>10} {:>8}",
        "row", "from", "module", "output", "stride", "parameters", "size"
    )?;
    for layer in &l.layers {
        let info = &layer.info;
        let line = format!(
            "{:>3}  {:<12} {:<24} {:>12} {:>6} {:>10} {:>8}",
            info.row,
            info.sources_text(),
            info.module,
            info.shape_text(),
            info.stride,
            info.parameters,
            info.size_text()
        );
        writeln!(out, "{}", line.trim_end())?;
        let Some(a) = &layer.attention else {
            continue;
        };
        writeln!(out, "     {} on a {}x{} map", a.title, a.map[0], a.map[1])?;
        if a.knobs.is_empty() {
            writeln!(out, "       no knobs")?;
        }
        for k in &a.knobs {
            let trained = k.trained.map_or(String::new(), |[low, high]| {
                format!(", trained {low} to {high}")
            });
            writeln!(
                out,
                "       {}.{} = {} ({} to {}{trained}): {}",
                layer.row, k.knob.name, k.knob.default, k.knob.min, k.knob.max, k.knob.help
            )?;
        }
    }
    Ok(())
}
