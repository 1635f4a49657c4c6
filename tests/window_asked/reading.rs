//! What a person reads in a pane: numbers, lines of tables, cells of small matrices.

use attnscope::engine::Outcome;
use egui::accesskit::Role;
use egui::{Pos2, Rect, pos2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};

use crate::window::{Window, canvas, hover, on_canvas, press, text};

/// Asserts that a number is shown with all the digits that it has room for.
pub fn shows(what: &str, shown: &str, expected: f64, digits: i32) {
    let number: f64 = shown
        .parse()
        .unwrap_or_else(|_| panic!("{what}: “{shown}” is no number"));
    let exponent = match expected == 0.0 {
        true => 0,
        false => expected.abs().log10().floor() as i32,
    };
    let half = 0.5 * 10f64.powi(exponent - digits + 1);
    // Single precision, and sums in another order.
    let slack = 2e-6 * expected.abs() + 1e-9;
    assert!(
        (number - expected).abs() <= half + slack,
        "{what}: {shown} is shown, {expected} is written"
    );
}

/// A pane with the pictures that lie on its canvas.
pub struct Hands<'a> {
    pub harness: Harness<'static, Window>,
    pub canvas: &'static str,
    pub outcome: &'a Outcome,
}

impl Hands<'_> {
    /// Where a pixel of the photograph lies.
    pub fn place(&self, pixel: [f32; 2]) -> Pos2 {
        let rect = canvas(&self.harness, self.canvas);
        on_canvas(rect, self.outcome, pixel)
    }

    /// Presses a pixel of the photograph.
    pub fn press(&mut self, pixel: [f32; 2]) {
        let at = self.place(pixel);
        press(&mut self.harness, at);
    }

    /// What is said of the pixel under the pointer.
    pub fn under(&mut self, pixel: [f32; 2]) -> String {
        let at = self.place(pixel);
        hover(&mut self.harness, at);
        text(&self.harness, "px ")
    }

    /// Asserts the value of the map under the pointer, and what it is a value of.
    pub fn reads(&mut self, pixel: [f32; 2], quantity: &str, expected: f64) {
        let line = self.under(pixel);
        let last = line.rsplit(" · ").next().unwrap();
        let (name, number) = last.rsplit_once(' ').unwrap();
        assert_eq!(name, quantity, "{line}");
        shows(&line, number, expected, 4);
    }

    pub fn ask(&mut self, title: &str) {
        crate::window::ask(&mut self.harness, title);
    }

    /// Chooses an entry of a list.
    pub fn choose(&mut self, list: &str, entry: &str) {
        self.harness
            .get_by_role_and_label(Role::ComboBox, list)
            .click();
        self.harness.run_ok();
        self.harness
            .get_by_role_and_label(Role::Button, entry)
            .click();
        self.harness.run_ok();
    }

    pub fn unit(&self, row: usize) -> usize {
        self.harness.state().selection.units[&row]
    }

    /// The line below the picture that contains these words.
    pub fn line(&self, part: &str) -> String {
        let found = self.harness.get_by_label_contains(part);
        found.value().or(found.accesskit_node().label()).unwrap()
    }
}

/// All words within a rectangle, with the middle of each.
pub fn words(harness: &Harness<'_, Window>, within: Rect) -> Vec<(Pos2, String)> {
    let mut all = Vec::new();
    for role in [Role::Label, Role::Link] {
        for node in harness.query_all_by_role(role) {
            let middle = node.rect().center();
            let said = node.accesskit_node().value();
            let said = said.or(node.accesskit_node().label());
            if let Some(said) = said.filter(|_| within.contains(middle)) {
                all.push((middle, said));
            }
        }
    }
    all
}

/// The words within a rectangle, line by line from left to right.
pub fn lines(harness: &Harness<'_, Window>, within: Rect) -> Vec<Vec<String>> {
    let mut found = words(harness, within);
    found.sort_by(|a, b| a.0.y.total_cmp(&b.0.y));
    let mut lines: Vec<(f32, Vec<(f32, String)>)> = Vec::new();
    for (at, word) in found {
        match lines.last_mut().filter(|l| (l.0 - at.y).abs() < 4.0) {
            Some(line) => line.1.push((at.x, word)),
            None => lines.push((at.y, vec![(at.x, word)])),
        }
    }
    let in_order = |(_, mut line): (f32, Vec<(f32, String)>)| {
        line.sort_by(|a, b| a.0.total_cmp(&b.0));
        line.into_iter().map(|(_, word)| word).collect()
    };
    lines.into_iter().map(in_order).collect()
}

/// The first lines of the table whose head begins with this word.
pub fn lines_below(harness: &Harness<'_, Window>, head: &str, count: usize) -> Vec<Vec<String>> {
    let head = harness.get_by_label(head).rect();
    let from = pos2(head.left() - 1.0, head.bottom());
    let mut all = lines(harness, Rect::from_min_max(from, pos2(f32::MAX, f32::MAX)));
    all.truncate(count);
    all
}

/// The middle of a cell of a matrix that is seen as an image.
pub fn matrix_cell(
    harness: &Harness<'_, Window>,
    name: &str,
    n: usize,
    [row, col]: [usize; 2],
) -> Pos2 {
    let rect = harness.get_by_role_and_label(Role::Image, name).rect();
    let step = rect.size() / n as f32;
    rect.min + egui::vec2(col as f32 + 0.5, row as f32 + 0.5) * step
}

/// Entropy in bits of weights that sum to 1.
pub fn entropy(weights: &[f64]) -> f64 {
    let of = |w: &f64| if *w > 0.0 { -w * w.log2() } else { 0.0 };
    weights.iter().map(of).sum()
}

/// The lines of a table on heads are those of these weights, a row per head; `place` names what
/// stands at an index.
pub fn heads_are(
    harness: &Harness<'_, Window>,
    heads: &[Vec<f64>],
    place: impl Fn(usize) -> String,
) {
    let n = heads.len() as f64;
    let mean: Vec<f64> = (0..heads[0].len())
        .map(|i| heads.iter().map(|h| h[i]).sum::<f64>() / n)
        .collect();
    let lines = lines_below(harness, "head", heads.len());
    let mut apart = Vec::new();
    for (i, (line, head)) in lines.iter().zip(heads).enumerate() {
        let most = head.iter().copied().fold(0.0, f64::max);
        let at = head.iter().position(|w| *w == most).unwrap();
        let halfway: Vec<f64> = head.iter().zip(&mean).map(|(a, b)| (a + b) / 2.0).collect();
        // Jensen–Shannon: the entropy of what is between, less the mean of both.
        let divergence = entropy(&halfway) - (entropy(head) + entropy(&mean)) / 2.0;
        apart.push(divergence);
        let [number, name, weight, spread, shown] = line.as_slice() else {
            panic!("{line:?}");
        };
        assert_eq!(*number, i.to_string());
        assert_eq!(*name, place(at), "head {i}");
        shows("weight", weight, most, 3);
        shows("spread", spread, entropy(head).exp2(), 3);
        let shown: f64 = shown.parse().unwrap();
        // A difference of entropies: what is left of them has fewer digits.
        assert!(
            (shown - divergence).abs() < 0.006 * divergence + 2e-6,
            "{shown} {divergence}"
        );
    }
    assert_eq!(lines.len(), heads.len());
    let odd = (0..apart.len()).max_by(|a, b| apart[*a].total_cmp(&apart[*b]));
    harness.get_by_label_contains(&format!("head {} differs most: ", odd.unwrap()));
}
