//! The numbers behind an answer, exactly as the trace holds them: as named arrays, and as CSV.

use candle_core::{Device, Result, Tensor};

use crate::attention::NamedTensor;
use crate::attention::view::{self, Answer, Body, View};
use crate::files::csv::Csv;

/// Every number of an answer as an array named after its view:
///
/// | view | arrays |
/// |---|---|
/// | overlay | `name [rows, cols]` of its map; `name.links [n, 5]`: from x, y, to x, y in cells of the feature map, weight; `name.borders` and `name.outline [n, 4]` |
/// | bars | `name [channels]` |
/// | matrix | `name [rows, cols]` |
/// | curves | `name.<series> [n, 2]`: x, y |
/// | gallery | `name [maps, rows, cols]`, `name.channels [maps]` |
///
/// Tables hold words: they are only in the CSV.
///
/// # Errors
/// If a view's numbers do not fill its shape, which no trace makes.
pub fn answer_arrays(answer: &Answer) -> Result<Vec<NamedTensor>> {
    let mut all = Vec::new();
    for view in std::iter::once(&answer.view).chain(&answer.beside) {
        arrays(view, &mut all)?;
    }
    Ok(all)
}

fn arrays(view: &View, all: &mut Vec<NamedTensor>) -> Result<()> {
    let name = &view.name;
    let mut add = |name: String, values: &[f32], shape: &[usize]| -> Result<()> {
        let tensor = Tensor::from_slice(values, shape, &Device::Cpu)?;
        all.push(NamedTensor { name, tensor });
        Ok(())
    };
    match &view.body {
        Body::Overlay(o) => {
            if let Some(heat) = &o.heat {
                add(name.to_string(), &heat.values, &[heat.rows, heat.cols])?;
            }
            let links: Vec<f32> = o.links.iter().flat_map(link).collect();
            if !links.is_empty() {
                add(format!("{name}.links"), &links, &[o.links.len(), 5])?;
            }
            for (what, lines) in [("borders", &o.borders), ("outline", &o.outline)] {
                if !lines.is_empty() {
                    add(
                        format!("{name}.{what}"),
                        lines.as_flattened(),
                        &[lines.len(), 4],
                    )?;
                }
            }
        }
        Body::Bars(bars) => add(name.to_string(), &bars.values, &[bars.values.len()])?,
        Body::Matrix(m) => add(name.to_string(), &m.values, &[m.rows, m.cols])?,
        Body::Curves(curves) => {
            for (series, points) in &curves.series {
                let name = format!("{name}.{}", series.replace(' ', "_"));
                add(name, points.as_flattened(), &[points.len(), 2])?;
            }
        }
        Body::Table(_) => {}
        Body::Gallery(gallery) => {
            let Some((_, first)) = gallery.maps.first() else {
                return Ok(());
            };
            let maps = gallery.maps.iter();
            let values: Vec<f32> = maps.flat_map(|(_, heat)| heat.values.to_vec()).collect();
            let shape = [gallery.maps.len(), first.rows, first.cols];
            add(name.to_string(), &values, &shape)?;
            let channels: Vec<u32> = gallery.channels.iter().map(|&c| c as u32).collect();
            let tensor = Tensor::from_slice(&channels, channels.len(), &Device::Cpu)?;
            let name = format!("{name}.channels");
            all.push(NamedTensor { name, tensor });
        }
    }
    Ok(())
}

fn link(link: &view::Link) -> [f32; 5] {
    let ([x0, y0], [x1, y1]) = (link.from, link.to);
    [x0, y0, x1, y1, link.weight]
}

/// The numbers of one view as a CSV file. A map or matrix has a line per row, behind its number; an
/// overlay without a map has its arrows, or else its borders.
pub fn view_csv(view: &View) -> String {
    match &view.body {
        Body::Overlay(o) => overlay(o),
        Body::Bars(bars) => {
            let mut csv = Csv::new(["channel", bars.quantity]);
            for (channel, value) in bars.values.iter().enumerate() {
                csv.line([channel.to_string(), value.to_string()]);
            }
            csv.finish()
        }
        Body::Matrix(m) => grid(&m.values, m.cols, m.step),
        Body::Curves(curves) => {
            let mut csv = Csv::new(["series", curves.x_label, curves.y_label]);
            for (name, points) in &curves.series {
                for [x, y] in points {
                    csv.line([name, &x.to_string(), &y.to_string()]);
                }
            }
            csv.finish()
        }
        Body::Table(table) => {
            let mut csv = Csv::new(&table.columns);
            table.rows.iter().for_each(|row| csv.line(row));
            csv.finish()
        }
        Body::Gallery(gallery) => {
            let mut csv = Csv::new(["map", "row", "col", "value"]);
            for (name, heat) in &gallery.maps {
                for (i, value) in heat.values.iter().enumerate() {
                    let (row, col) = (i / heat.cols.max(1), i % heat.cols.max(1));
                    csv.line([name, &row.to_string(), &col.to_string(), &value.to_string()]);
                }
            }
            csv.finish()
        }
    }
}

fn overlay(o: &view::Overlay) -> String {
    if let Some(heat) = &o.heat {
        return grid(&heat.values, heat.cols, 1);
    }
    if !o.links.is_empty() {
        let mut csv = Csv::new(["from x", "from y", "to x", "to y", "weight"]);
        o.links.iter().for_each(|l| csv.line(link(l)));
        return csv.finish();
    }
    let mut csv = Csv::new(["x0", "y0", "x1", "y1"]);
    o.borders.iter().for_each(|line| csv.line(line));
    csv.finish()
}

/// Rows behind their number, under the numbers of the columns; they count by `step`.
fn grid(values: &[f32], cols: usize, step: usize) -> String {
    let heads = (0..cols).map(|c| (c * step).to_string());
    let mut csv = Csv::new(std::iter::once("row".to_owned()).chain(heads));
    for (row, values) in values.chunks(cols.max(1)).enumerate() {
        let values = values.iter().map(f32::to_string);
        csv.line(std::iter::once((row * step).to_string()).chain(values));
    }
    csv.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::view::{Bars, Curves, Heat, Overlay, Table};

    fn view(body: Body) -> View {
        View {
            name: "v".into(),
            title: String::new(),
            caption: String::new(),
            body,
        }
    }

    fn map() -> View {
        let heat = Heat {
            quantity: "q",
            values: vec![0.1, 2.0, f32::NAN, 1e-7].into(),
            rows: 2,
            cols: 2,
            extent: [2.0, 2.0],
        };
        view(Body::Overlay(Overlay {
            heat: Some(heat),
            outline: vec![[0.0, 0.0, 1.0, 0.0]],
            ..Overlay::default()
        }))
    }

    #[test]
    fn csv_reads_back_as_the_same_numbers() {
        assert_eq!(view_csv(&map()), "row,0,1\n0,0.1,2\n1,NaN,0.0000001\n");
        let values = [1.0 / 3.0, f32::MIN_POSITIVE, -0.7];
        let bars = view(Body::Bars(Bars {
            quantity: "weight",
            values: values.to_vec().into(),
        }));
        let csv = view_csv(&bars);
        let read: Vec<f32> = csv
            .lines()
            .skip(1)
            .map(|l| l.split(',').nth(1).unwrap().parse().unwrap())
            .collect();
        assert_eq!(read, values);
    }

    #[test]
    fn words_and_curves_keep_their_names() {
        let table = view(Body::Table(Table {
            columns: vec!["what".into(), "n".into()],
            rows: vec![vec!["cat, tabby".into(), "3".into()]],
            ..Table::default()
        }));
        assert_eq!(view_csv(&table), "what,n\n\"cat, tabby\",3\n");
        let curves = view(Body::Curves(Curves {
            x_label: "iteration",
            y_label: "entropy",
            series: vec![("mean change".into(), vec![[0.0, 1.5]])],
        }));
        assert_eq!(
            view_csv(&curves),
            "series,iteration,entropy\nmean change,0,1.5\n"
        );
        let arrays = answer_arrays(&curves.into()).unwrap();
        assert_eq!(arrays[0].name, "v.mean_change");
        assert_eq!(arrays[0].tensor.dims(), [1, 2]);
    }

    #[test]
    fn arrays_have_the_shape_of_the_map() {
        let arrays = answer_arrays(&map().into()).unwrap();
        let names: Vec<_> = arrays.iter().map(|a| a.name.as_str()).collect();
        assert_eq!(names, ["v", "v.outline"]);
        assert_eq!(arrays[0].tensor.dims(), [2, 2]);
        assert_eq!(arrays[1].tensor.dims(), [1, 4]);
    }
}
