//! Where a region reads from: as arrows over the photograph and in numbers beside it.

use egui::{Color32, Grid, RichText, ScrollArea, Ui};

use super::Seen;
use crate::app::canvas::{Labels, Pen, QUERY, RELATED, SMALL};
use crate::attention::view::MarkKind;
use crate::picture::numbers::value_label;

/// The shown region, the ones it reads from, and arrows between.
pub fn paint(pen: &Pen<'_>, painter: &egui::Painter, seen: &Seen<'_>) {
    let (marks, links) = seen.trace.route_overlay(seen.region);
    for mark in &marks {
        match mark.kind {
            MarkKind::Query => pen.frame(mark.rect, QUERY, 3.0),
            MarkKind::Related => pen.frame(mark.rect, RELATED, 2.5),
        }
    }
    pen.links(&links, seen.trace.region);
    let source = pen.rect(seen.trace.rect(seen.region)).center();
    let mut labels = Labels::new(painter);
    for (rank, mark) in marks.iter().enumerate() {
        if mark.kind == MarkKind::Related {
            let two_lines = mark.label.replace(" · ", "\n");
            let short = (rank + 1).to_string();
            let rect = pen.rect(mark.rect).shrink(1.0);
            labels.inside(rect, source, &[&mark.label, &two_lines, &short]);
        }
    }
    if let Some(pinned) = seen.pinned.filter(|p| *p != seen.region) {
        pen.frame(seen.trace.rect(pinned), Color32::LIGHT_GRAY, 1.5);
    }
}

/// The routes in numbers, how many regions read from this one (`readers`), and what grey regions are.
pub fn list(ui: &mut Ui, selected: &mut Option<usize>, seen: &Seen<'_>, readers: f32) {
    let trace = seen.trace;
    let region = seen.region;
    ui.label(RichText::new(format!("region {region}")).strong());
    ui.label(format!("read by {readers:.0} regions"));
    let rows = trace.routes(region);
    let grid = Grid::new("routes").num_columns(4).spacing([8.0, 2.0]);
    ScrollArea::vertical().show(ui, |ui| {
        grid.show(ui, |ui| {
            for title in ["", "region", "weight", "affinity"] {
                ui.label(RichText::new(title).size(SMALL).weak());
            }
            ui.end_row();
            for (rank, (routed, weight)) in rows.iter().enumerate() {
                ui.label(format!("{}", rank + 1));
                let link = ui.link(routed.to_string());
                if link.on_hover_text("Pin this region").clicked() {
                    *selected = Some(*routed);
                }
                ui.label(format!("{weight:.3}"));
                let affinity = trace.affinity.at(&[region, *routed]);
                ui.label(match trace.is_padding(*routed) {
                    true => "padding".to_owned(),
                    false => value_label(affinity, 3),
                });
                ui.end_row();
            }
        });
        ui.add_space(6.0);
        let padding = (0..trace.regions())
            .filter(|r| trace.is_padding(*r))
            .count();
        if padding > 0 {
            let text = format!(
                "{padding} of {} regions are grey: they hold only padding. They tie exactly, so \
                 their order among each other means nothing.",
                trace.regions()
            );
            ui.label(RichText::new(text).size(SMALL).weak());
        }
    });
}
