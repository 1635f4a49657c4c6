//! Channels as bars, sorted or in their order.

use egui::accesskit::Role;
use egui::{Color32, EventFilter, Key, Response, Ui, WidgetInfo};
use egui_plot::{Bar, BarChart, GridMark, Plot, PlotPoint};

use crate::app::canvas::RELATED;
use crate::attention::view::Bars;
use crate::picture::Range;
use crate::picture::numbers::{round_ticks, value_label};

/// Height of the plot over its highest bar.
const ROOM: f32 = 1.04;

/// Bars in the order in which they stand.
pub struct Ordered {
    bars: Bars,
    /// Channel at each place.
    order: Vec<usize>,
    /// Place of each channel when sorted from large to small.
    rank: Vec<usize>,
    sorted: bool,
}

/// What the hand does with the bars.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pointed {
    /// Channel under the pointer.
    pub hover: Option<usize>,
    /// Channel that was pressed.
    pub pressed: Option<usize>,
}

impl Ordered {
    /// Orders bars, largest first or by channel.
    pub fn new(bars: Bars, sorted: bool) -> Self {
        let by_value = bars.sorted();
        let mut rank = vec![0; by_value.len()];
        for (place, channel) in by_value.iter().enumerate() {
            rank[*channel] = place;
        }
        let order = match sorted {
            true => by_value,
            false => (0..rank.len()).collect(),
        };
        Self {
            bars,
            order,
            rank,
            sorted,
        }
    }

    /// A channel in words: `channel 17 · channel weight 0.5312 · rank 3 of 64`.
    pub fn describe(&self, channel: usize) -> Option<String> {
        let value = self.bars.values.get(channel)?;
        let rank = self.rank.get(channel)? + 1;
        Some(format!(
            "channel {channel} · {} {} · rank {rank} of {}",
            self.bars.quantity,
            value_label(*value, 4),
            self.bars.values.len()
        ))
    }

    /// Where the first bar stands: ranks count from 1, channels from 0.
    fn first(&self) -> f64 {
        f64::from(u8::from(self.sorted))
    }

    /// The channel whose bar stands at `x`.
    fn channel_at(&self, x: f64) -> Option<usize> {
        let place = (x - self.first()).round();
        (place >= 0.0)
            .then(|| self.order.get(place as usize).copied())
            .flatten()
    }

    /// Draws the bars in all the room there is.
    pub fn show(&self, ui: &mut Ui, selected: Option<usize>) -> Pointed {
        let n = self.order.len();
        let (left, right) = (self.first() - 0.7, self.first() + n as f64 - 0.3);
        let top = self
            .bars
            .values
            .iter()
            .copied()
            .fold(0.0, f32::max)
            .max(1e-12);
        let room = (ui.available_width() / 70.0).max(1.0) as usize;
        let rows = (ui.available_height() / 40.0).max(1.0) as usize;
        let x_label = match self.sorted {
            true => "rank",
            false => "channel",
        };
        let plot = Plot::new("channels")
            .min_size(egui::vec2(40.0, 24.0))
            .allow_drag(false)
            .allow_zoom(false)
            .allow_scroll(false)
            .allow_boxed_zoom(false)
            .allow_axis_zoom_drag(false)
            .allow_double_click_reset(false)
            .show_x(false)
            .show_y(false)
            .show_grid([false, true])
            .set_margin_fraction(egui::vec2(0.0, 0.0))
            .default_x_bounds(left, right)
            .default_y_bounds(0.0, f64::from(ROOM * top))
            .auto_bounds([false, false])
            .x_grid_spacer(move |_| marks(n, room))
            .x_axis_formatter(|mark, _| format!("{:.0}", mark.value))
            .y_grid_spacer(move |_| levels(top, rows))
            .y_axis_formatter(|mark, _| value_label(mark.value as f32, 3))
            .y_axis_min_width(34.0)
            .label_formatter(|_| None);
        // In little room the bars come first.
        let plot = match ui.available_height() > 150.0 {
            true => plot.x_axis_label(x_label),
            false => plot,
        };
        let ink = [
            ui.visuals().hyperlink_color,
            ui.visuals().strong_text_color(),
        ];
        let shown = plot.show(ui, |plot| {
            // The bounds are kept by the plot itself: those of another layer must not stay.
            plot.set_plot_bounds_x(left..=right);
            plot.set_plot_bounds_y(0.0..=f64::from(ROOM * top));
            let at = match plot.response().hovered() {
                true => plot.pointer_coordinate(),
                false => None,
            };
            let hover = at.and_then(|PlotPoint { x, .. }| self.channel_at(x));
            plot.bar_chart(self.chart(selected, hover, ink));
            hover
        });
        let name = format!("{} plot", self.bars.quantity);
        let response = shown.response;
        response.widget_info(|| WidgetInfo::labeled(Role::Canvas, true, &name));
        let hover = shown.inner;
        if let Some(text) = hover.and_then(|c| self.describe(c)) {
            let tip = egui::Tooltip::for_widget(&response).at_pointer();
            tip.gap(14.0).show(|ui| ui.label(text.replace(" · ", "\n")));
        }
        if response.clicked() {
            response.request_focus();
        }
        let pressed = hover.filter(|_| response.clicked());
        Pointed {
            hover,
            pressed: pressed.or_else(|| self.stepped(ui, &response, selected)),
        }
    }

    /// The channel that the arrow keys lead to, while the bars have the keyboard.
    fn stepped(&self, ui: &Ui, response: &Response, selected: Option<usize>) -> Option<usize> {
        if !response.has_focus() {
            return None;
        }
        let filter = EventFilter {
            horizontal_arrows: true,
            ..EventFilter::default()
        };
        ui.memory_mut(|m| m.set_focus_lock_filter(response.id, filter));
        let by = ui.input(|i| {
            let times = |key| i.num_presses(key) as isize;
            times(Key::ArrowRight) - times(Key::ArrowLeft)
        });
        let last = self.order.len().checked_sub(1)?;
        let now = self.order.iter().position(|c| Some(*c) == selected);
        let next = match now {
            Some(now) => now.saturating_add_signed(by).min(last),
            None => 0,
        };
        // At the end the key does nothing: the same channel again would let it go.
        let next = self.order.get(next).copied();
        next.filter(|_| by != 0 && next != selected)
    }

    fn chart(
        &self,
        selected: Option<usize>,
        hover: Option<usize>,
        [plain, strong]: [Color32; 2],
    ) -> BarChart {
        let first = self.first();
        let bars = self.order.iter().enumerate().map(|(place, &channel)| {
            let value = self.bars.values.get(channel).copied().unwrap_or(0.0);
            let color = match Some(channel) {
                c if c == selected => RELATED,
                c if c == hover => strong,
                _ => plain.gamma_multiply(0.75),
            };
            Bar::new(first + place as f64, f64::from(value))
                .width(0.82)
                .fill(color)
                .stroke(egui::Stroke::NONE)
        });
        // Hovering is done by column, not by bar: low bars are hard to hit.
        BarChart::new(self.bars.quantity, bars.collect()).allow_hover(false)
    }
}

/// About `room` round values up to `top`.
fn levels(top: f32, room: usize) -> Vec<GridMark> {
    let ticks = round_ticks(Range { min: 0.0, max: top }, room);
    let step = ticks.windows(2).map(|t| t[1] - t[0]).next().unwrap_or(top);
    let mark = |value: f32| GridMark {
        value: f64::from(value),
        step_size: f64::from(step),
    };
    // The last one may lie above the bars.
    let within = ticks.into_iter().filter(|t| *t <= ROOM * top);
    within.map(mark).collect()
}

/// At most `room` round numbers up to `n`.
fn marks(n: usize, room: usize) -> Vec<GridMark> {
    let steps = (0..9).flat_map(|e| [1, 2, 5].map(|m| m * 10usize.pow(e)));
    let step = steps
        .into_iter()
        .find(|s| n / s <= room)
        .unwrap_or(n.max(1));
    (0..=n)
        .step_by(step)
        .map(|i| GridMark {
            value: i as f64,
            step_size: step as f64,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(sorted: bool) -> Ordered {
        let bars = Bars {
            quantity: "channel weight",
            values: vec![0.2, 0.9, 0.5].into(),
        };
        Ordered::new(bars, sorted)
    }

    #[test]
    fn a_bar_belongs_to_its_channel_sorted_or_not() {
        // Ranks count from 1, channels from 0.
        assert_eq!(ordered(true).channel_at(1.3), Some(1));
        assert_eq!(ordered(true).channel_at(3.0), Some(0));
        assert_eq!(ordered(false).channel_at(0.3), Some(0));
        assert_eq!(ordered(true).channel_at(3.6), None);
        assert_eq!(ordered(true).channel_at(0.4), None);
    }

    #[test]
    fn axis_marks_are_round_and_few() {
        let at = |n, room| marks(n, room).iter().map(|m| m.value).collect::<Vec<_>>();
        assert_eq!(at(64, 4), [0.0, 20.0, 40.0, 60.0]);
        assert_eq!(at(3, 4), [0.0, 1.0, 2.0, 3.0]);
        assert!(at(2048, 4).len() <= 5);
    }

    #[test]
    fn a_channel_is_named_with_its_weight_and_rank() {
        for sorted in [true, false] {
            assert_eq!(
                ordered(sorted).describe(2).unwrap(),
                "channel 2 · channel weight 0.5 · rank 2 of 3"
            );
        }
        assert_eq!(ordered(true).describe(3), None);
    }
}
