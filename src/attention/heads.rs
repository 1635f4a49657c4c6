//! Several heads of one query: their mean, and how far each is from it.

use super::view::Table;
use crate::numbers::value_label;

/// One head, or the mean of all; `weights` holds a row per head.
pub fn one_or_mean(weights: &[&[f32]], head: Option<usize>) -> Vec<f32> {
    if let Some(row) = head.and_then(|h| weights.get(h)) {
        return row.to_vec();
    }
    let mut mean = vec![0.0; weights.first().map_or(0, |row| row.len())];
    for row in weights {
        for (m, w) in mean.iter_mut().zip(*row) {
            *m += w / weights.len() as f32;
        }
    }
    mean
}

/// A head in words: `head 3`, or `mean of all heads`.
pub fn name(head: Option<usize>, heads: usize) -> String {
    match head {
        Some(h) if h < heads => format!("head {h}"),
        _ if heads == 1 => "the only head".into(),
        _ => "mean of all heads".into(),
    }
}

/// Entropy in bits of weights that sum to 1.
pub fn entropy(weights: impl IntoIterator<Item = f32>) -> f32 {
    let of = |w: f32| if w > 0.0 { -w * w.log2() } else { 0.0 };
    weights.into_iter().map(of).sum()
}

/// As many equal weights have the same entropy.
pub fn spread(weights: &[f32]) -> f32 {
    entropy(weights.iter().copied()).exp2()
}

/// Jensen–Shannon divergence of two distributions in bits: 0 for the same, 1 for nothing in common.
pub fn divergence(a: &[f32], b: &[f32]) -> f32 {
    // a·log(a/m) + b·log(b/m) over the common mean m, summed over all places.
    let toward = |v: f32, m: f32| if v > 0.0 { v * (v / m).log2() } else { 0.0 };
    let sum: f64 = a
        .iter()
        .zip(b)
        .map(|(&a, &b)| {
            let m = (a + b) / 2.0;
            f64::from(toward(a, m) + toward(b, m))
        })
        .sum();
    (sum / 2.0).clamp(0.0, 1.0) as f32
}

/// Place and value of the largest weight, the first of equals.
pub fn largest(weights: &[f32]) -> Option<(usize, f32)> {
    let mut best: Option<(usize, f32)> = None;
    for (i, &w) in weights.iter().enumerate() {
        if best.is_none_or(|(_, most)| w > most) {
            best = Some((i, w));
        }
    }
    best
}

/// The heads of one query beside each other, and one line on them. `place` names what stands at an
/// index of the weights, and its unit.
pub fn agreement(
    weights: &[&[f32]],
    place: impl Fn(usize) -> (String, usize),
) -> Option<(Table, String)> {
    let mean = one_or_mean(weights, None);
    let mut table = Table {
        columns: ["head", "reads most", "weight", "spread", "divergence"]
            .map(String::from)
            .to_vec(),
        note:
            "Spread: as many equal weights have the same entropy. Divergence: Jensen–Shannon, to \
               the mean of all heads, in bits; 0 is the same, 1 has nothing in common."
                .into(),
        ..Table::default()
    };
    let mut apart = Vec::with_capacity(weights.len());
    for (head, row) in weights.iter().enumerate() {
        let (at, weight) = largest(row)?;
        let (name, unit) = place(at);
        let divergence = divergence(row, &mean);
        apart.push(divergence);
        table.units.push(unit);
        table.rows.push(vec![
            head.to_string(),
            name,
            value_label(weight, 3),
            value_label(spread(row), 3),
            value_label(divergence, 3),
        ]);
    }
    let (odd, most) = largest(&apart)?;
    let line = match apart.len() {
        1 => "there is one head only".to_owned(),
        _ => format!(
            "head {odd} differs most: {} bits from the mean",
            value_label(most, 3)
        ),
    };
    Some((table, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_has_its_ends_and_a_known_middle() {
        assert_eq!(divergence(&[0.5, 0.5], &[0.5, 0.5]), 0.0);
        assert!((divergence(&[1.0, 0.0], &[0.0, 1.0]) - 1.0).abs() < 1e-6);
        // Against the even pair: 1/2·log2(4/3) + 1/4·log2(2/3) + 1/4·log2(2).
        let by_hand = 0.5 * (4.0f32 / 3.0).log2() + 0.25 * (2.0f32 / 3.0).log2() + 0.25;
        assert!((divergence(&[1.0, 0.0], &[0.5, 0.5]) - by_hand).abs() < 1e-6);
    }

    #[test]
    fn entropy_is_in_bits() {
        assert_eq!(entropy([0.25; 4]), 2.0);
        assert_eq!(entropy([1.0, 0.0]), 0.0);
        assert_eq!(spread(&[0.5, 0.5, 0.0]), 2.0);
    }

    #[test]
    fn the_odd_head_is_named() {
        let rows: [&[f32]; 3] = [&[0.7, 0.3], &[0.6, 0.4], &[0.0, 1.0]];
        let (table, line) = agreement(&rows, |i| (format!("place {i}"), i)).unwrap();
        assert_eq!(table.rows[2][..3], ["2", "place 1", "1"]);
        assert_eq!(table.units, [0, 0, 1]);
        assert!(line.starts_with("head 2 differs most"), "{line}");
        assert!(agreement(&[], |i| (String::new(), i)).is_none());
    }

    #[test]
    fn a_head_or_the_mean() {
        let rows: [&[f32]; 2] = [&[1.0, 0.0], &[0.5, 0.5]];
        assert_eq!(one_or_mean(&rows, None), [0.75, 0.25]);
        assert_eq!(one_or_mean(&rows, Some(1)), [0.5, 0.5]);
        assert_eq!(one_or_mean(&rows, Some(9)), [0.75, 0.25]);
    }
}
