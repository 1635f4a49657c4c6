//! Curves over a common axis.

use egui::accesskit::Role;
use egui::{RichText, Sense, Ui, vec2};
use egui_plot::{Line, Plot, PlotPoints, Points};

use super::Hand;
use crate::app::canvas::SMALL;
use crate::app::panes::parts::class_color;
use crate::attention::view::Curves;
use crate::picture::numbers::value_label;

/// In less height the curves need the room that the names of the axes would take.
const LEAST: f32 = 100.0;

/// Draws curves in all the room there is.
pub fn show(ui: &mut Ui, curves: &Curves) -> Hand {
    if curves.series.len() > 1 {
        // Above the plot: in a small pane a legend inside it would hide the curves.
        legend(ui, curves);
    }
    let roomy = ui.available_height() > LEAST;
    let label = |text| if roomy { text } else { "" };
    let plot = Plot::new("curves")
        .min_size(egui::vec2(60.0, 40.0))
        .allow_drag(false)
        .allow_zoom(false)
        .allow_scroll(false)
        .allow_boxed_zoom(false)
        .allow_axis_zoom_drag(false)
        .x_axis_label(label(curves.x_label))
        .y_axis_label(label(curves.y_label))
        .label_formatter(|_| None);
    let shown = plot.show(ui, |plot| {
        for (i, (name, points)) in curves.series.iter().enumerate() {
            let color = class_color(i);
            let of = || PlotPoints::from_iter(points.iter().map(|p| p.map(f64::from)));
            if points.len() > 1 {
                plot.line(Line::new(name, of()).color(color).width(2.0));
            }
            plot.points(Points::new(name, of()).color(color).radius(3.0));
        }
        let hovered = plot.response().hovered();
        plot.pointer_coordinate().filter(|_| hovered)
    });
    let words = described(curves);
    let response = shown.response;
    response.widget_info(|| egui::WidgetInfo::labeled(Role::Image, true, &words));
    let under = shown
        .inner
        .and_then(|at| nearest(curves, at.x as f32))
        .unwrap_or_default();
    Hand {
        under,
        ..Hand::default()
    }
}

/// The names of the curves, each beside its colour.
fn legend(ui: &mut Ui, curves: &Curves) {
    ui.horizontal_wrapped(|ui| {
        for (i, (name, _)) in curves.series.iter().enumerate() {
            let (dot, _) = ui.allocate_exact_size(vec2(8.0, SMALL), Sense::hover());
            ui.painter()
                .circle_filled(dot.center(), 3.5, class_color(i));
            ui.label(RichText::new(name).size(SMALL));
        }
    });
}

/// Every curve with its last value, for a screen reader.
fn described(curves: &Curves) -> String {
    let last = |(name, points): &(String, Vec<[f32; 2]>)| {
        let value = points.last().map_or(f32::NAN, |p| p[1]);
        format!("{name} {}", value_label(value, 4))
    };
    let all: Vec<String> = curves.series.iter().map(last).collect();
    format!(
        "{} over {}: {}",
        curves.y_label,
        curves.x_label,
        all.join(", ")
    )
}

/// The values of all curves at the point nearest to `x`.
fn nearest(curves: &Curves, x: f32) -> Option<String> {
    let far = |p: &&[f32; 2]| (p[0] - x).abs();
    let all = curves.series.iter().flat_map(|s| &s.1);
    let at = all.min_by(|a, b| far(a).total_cmp(&far(b)))?[0];
    let mut text = format!("{} {}", curves.x_label, value_label(at, 3));
    for (name, points) in &curves.series {
        if let Some([_, y]) = points.iter().find(|p| p[0] == at) {
            text += &format!(" · {name} {}", value_label(*y, 4));
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_point_under_the_pointer_is_read_from_every_curve() {
        let curves = Curves {
            x_label: "iteration",
            y_label: "nats",
            series: vec![
                ("entropy".into(), vec![[1.0, 0.5], [2.0, 0.25]]),
                ("change".into(), vec![[2.0, 0.125]]),
            ],
        };
        assert_eq!(
            nearest(&curves, 1.7).unwrap(),
            "iteration 2 · entropy 0.25 · change 0.125"
        );
        assert_eq!(nearest(&curves, -3.0).unwrap(), "iteration 1 · entropy 0.5");
        assert_eq!(
            described(&curves),
            "nats over iteration: entropy 0.25, change 0.125"
        );
    }
}
