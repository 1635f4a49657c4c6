//! What bi-level routing attention computed, and the pictures of it.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};

use crate::attention::view::{Body, Heat, Link, Mark, MarkKind, Overlay, View, grid_lines};
use crate::attention::{Array, Indices, MapSize, Mechanism, NamedTensor, Trace, named};

/// The trace of one BRA layer. `S²` regions, `T` tokens and `K` keys a region (as many, unless keys
/// are pooled), `k = topk`.
#[derive(Debug, Clone)]
pub struct RoutingTrace {
    /// Feature map without padding.
    pub map: MapSize,
    /// Feature map with padding, `[H, W]`.
    pub padded: MapSize,
    /// The knob that the regions follow from.
    pub n_win: usize,
    /// Rows and columns of regions: `n_win` each, or more in the variant on NCHW maps.
    pub grid: [usize; 2],
    /// Height and width of a region.
    pub region: [usize; 2],
    /// Rows and columns of a region, `start..end`, that each row and column of keys stands for.
    pub key_windows: [Vec<[usize; 2]>; 2],
    /// Regions that each region reads from.
    pub topk: usize,
    /// `[S², S²]` scaled routing logits, row = the region that reads.
    pub affinity: Array,
    /// `[S², k]` routed regions, largest logit first; equal logits by index.
    pub routed: Indices,
    /// `[S², k]` softmax over the kept logits only. Shown; it enters the output only with soft
    /// routing.
    pub weights: Array,
    /// `[heads, T, k·K]` for the asked-for regions: key column `κ·K + u` is key `u` of the κ-th
    /// routed region.
    pub token_attention: BTreeMap<usize, Array>,
    /// `[C, H0, W0]` input of the attention (after the norm, in a block).
    pub input: Tensor,
    /// `[C, H0, W0]` output of the attention (before the residual, in a block).
    pub output: Tensor,
}

impl RoutingTrace {
    /// Number of regions.
    pub fn regions(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// The region under the cell `(y, x)` of the feature map.
    pub fn region_at(&self, y: usize, x: usize) -> Option<usize> {
        let [h, w] = self.region;
        (y < self.padded[0] && x < self.padded[1]).then(|| (y / h) * self.grid[1] + x / w)
    }

    /// Row and column of a region.
    fn place(&self, region: usize) -> (usize, usize) {
        (region / self.grid[1], region % self.grid[1])
    }

    /// The rectangle of a region, `x0, y0, x1, y1` in cells of the feature map.
    pub fn rect(&self, region: usize) -> [f32; 4] {
        let [h, w] = self.region.map(|v| v as f32);
        let (row, col) = self.place(region);
        let (x, y) = (col as f32 * w, row as f32 * h);
        [x, y, x + w, y + h]
    }

    /// Whether a region holds nothing but padding. Such regions tie exactly, so their order among
    /// each other means nothing.
    pub fn is_padding(&self, region: usize) -> bool {
        let (row, col) = self.place(region);
        row * self.region[0] >= self.map[0] || col * self.region[1] >= self.map[1]
    }

    /// The routed regions of `region` with their weights, best first.
    pub fn routes(&self, region: usize) -> Vec<(usize, f32)> {
        let ids = self.routed.row(region).iter().map(|&i| i as usize);
        ids.zip(self.weights.row(region).iter().copied()).collect()
    }

    /// The region affinity row of `region` as a map over the regions.
    pub fn affinity_row(&self, region: usize) -> Heat {
        self.heat("region affinity", self.affinity.row(region).to_vec())
    }

    /// How many regions read from each region.
    pub fn in_degree(&self) -> Heat {
        let mut counts = vec![0.0; self.regions()];
        for &i in self.routed.data() {
            if let Some(c) = counts.get_mut(i as usize) {
                *c += 1.0;
            }
        }
        self.heat("regions that read here", counts)
    }

    /// Where token `token` of `region` looks: one head or the mean of all, on the padded map.
    /// `None` unless the token attention of that region was asked for.
    pub fn token_map(&self, region: usize, token: usize, head: Option<usize>) -> Option<Heat> {
        let weights = self.token_attention.get(&region)?;
        let [heads, _, _] = <[usize; 3]>::try_from(weights.shape()).ok()?;
        let [tall, wide] = &self.key_windows;
        let keys = tall.len() * wide.len();
        let chosen: Vec<usize> = head.map_or_else(|| (0..heads).collect(), |h| vec![h]);
        let [height, width] = self.padded;
        let mut values = vec![0.0; height * width];
        for (rank, (routed, _)) in self.routes(region).into_iter().enumerate() {
            let (row, col) = self.place(routed);
            for u in 0..keys {
                let sum: f32 = chosen
                    .iter()
                    .map(|&h| weights.at(&[h, token, rank * keys + u]))
                    .sum();
                let ([top, bottom], [left, right]) = (tall[u / wide.len()], wide[u % wide.len()]);
                // A key that stands for many cells is shared out among them.
                let cells = chosen.len() * (bottom - top) * (right - left);
                for y in top..bottom {
                    let start = (row * self.region[0] + y) * width + col * self.region[1];
                    for v in values.iter_mut().skip(start + left).take(right - left) {
                        *v += sum / cells as f32;
                    }
                }
            }
        }
        Some(Heat {
            quantity: "token attention",
            values: values.into(),
            rows: height,
            cols: width,
            extent: [width as f32, height as f32],
        })
    }

    /// The region in the middle of the map.
    pub fn central_region(&self) -> usize {
        let row = self.map[0] / 2 / self.region[0].max(1);
        let col = self.map[1] / 2 / self.region[1].max(1);
        row * self.grid[1] + col
    }

    /// Marks and links of one region: itself, and where it reads from with rank and weight.
    pub fn route_overlay(&self, region: usize) -> (Vec<Mark>, Vec<Link>) {
        let centre = |r: usize| {
            let [x0, y0, x1, y1] = self.rect(r);
            [(x0 + x1) / 2.0, (y0 + y1) / 2.0]
        };
        let mut marks = Vec::new();
        let mut links = Vec::new();
        for (rank, (routed, weight)) in self.routes(region).into_iter().enumerate() {
            marks.push(Mark {
                rect: self.rect(routed),
                label: format!("{} · {weight:.2}", rank + 1),
                kind: MarkKind::Related,
            });
            links.push(Link {
                from: centre(region),
                to: centre(routed),
                weight,
            });
        }
        marks.push(Mark {
            rect: self.rect(region),
            label: String::new(),
            kind: MarkKind::Query,
        });
        (marks, links)
    }

    /// Regions that hold only padding, as rectangles.
    pub fn padding_rects(&self) -> Vec<[f32; 4]> {
        (0..self.regions())
            .filter(|&r| self.is_padding(r))
            .map(|r| self.rect(r))
            .collect()
    }

    fn heat(&self, quantity: &'static str, values: Vec<f32>) -> Heat {
        Heat {
            quantity,
            values: values.into(),
            rows: self.grid[0],
            cols: self.grid[1],
            extent: [self.padded[1] as f32, self.padded[0] as f32],
        }
    }
}

impl Trace for RoutingTrace {
    fn mechanism(&self) -> &'static Mechanism {
        &super::MECHANISM
    }

    fn map(&self) -> MapSize {
        self.map
    }

    fn tensors(&self) -> Result<Vec<NamedTensor>> {
        let plain = |name: &str, tensor| NamedTensor {
            name: name.into(),
            tensor,
        };
        let mut all = vec![
            plain("in", self.input.clone()),
            plain("out", self.output.clone()),
            named("affinity_r", &self.affinity)?,
            plain("r_idx", self.routed.to_tensor(&Device::Cpu)?),
            named("r_weight", &self.weights)?,
        ];
        for (region, weights) in &self.token_attention {
            all.push(named(format!("attn_region{region}"), weights)?);
        }
        Ok(all)
    }

    fn views(&self) -> Vec<View> {
        let region = self.central_region();
        let (marks, links) = self.route_overlay(region);
        let borders = grid_lines(self.padded, self.region);
        let view = |name: &'static str, title: String, caption: &str, heat, marks, links| View {
            name: name.into(),
            title,
            caption: caption.into(),
            body: Body::Overlay(Overlay {
                heat,
                borders: borders.clone(),
                links,
                marks,
                greyed: self.padding_rects(),
                ..Overlay::default()
            }),
        };
        let mut views = vec![
            view(
                "routes",
                format!("Region {region} and the {} it reads from", self.topk),
                "Rank and routing weight; the heat map is the region affinity row",
                Some(self.affinity_row(region)),
                marks.clone(),
                links,
            ),
            view(
                "in_degree",
                "Regions that everybody reads".into(),
                "How many regions are routed to each region",
                Some(self.in_degree()),
                Vec::new(),
                Vec::new(),
            ),
        ];
        let middle = (self.region[0] / 2) * self.region[1] + self.region[1] / 2;
        if let Some(heat) = self.token_map(region, middle, None) {
            views.push(view(
                "token_attention",
                format!("Where the middle token of region {region} looks"),
                "Token attention over the routed regions, mean of all heads",
                Some(heat),
                marks,
                Vec::new(),
            ));
        }
        views
    }

    fn bytes(&self) -> usize {
        let tokens: usize = self.token_attention.values().map(Array::bytes).sum();
        self.affinity.bytes()
            + self.routed.bytes()
            + self.weights.bytes()
            + tokens
            + 4 * (self.input.elem_count() + self.output.elem_count())
    }
}
