//! Where the panes are: a tree of tiles that the person can rearrange.

use std::collections::HashSet;

use egui::{Color32, Id, Stroke, Ui, Visuals, WidgetInfo, WidgetText};
use egui_tiles::{
    Behavior, Container, Grid, GridLayout, SimplificationOptions, TabState, Tabs, Tile, TileId,
    Tiles, Tree, UiResponse,
};
use serde::{Deserialize, Serialize};

use super::command::Ask;
use super::pane::{Context, Pane};
use super::panes;
use super::theme;
use crate::view::View;

/// Places of the first layout.
const PLACES: usize = 4;

/// The tree; a tile holds the id of its pane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Layout {
    tree: Tree<String>,
}

impl Default for Layout {
    /// A grid of two columns: the panes of the whole picture behind each other, then those of the
    /// mechanisms, the last ones behind each other.
    fn default() -> Self {
        let mut tiles = Tiles::default();
        let panes = panes::all();
        let mut insert = |of_mechanism: bool| -> Vec<TileId> {
            let of = panes
                .iter()
                .filter(|p| p.mechanism().is_some() == of_mechanism);
            of.map(|p| tiles.insert_pane(p.id().to_owned())).collect()
        };
        let (whole, mut mechanisms) = (insert(false), insert(true));
        let last = mechanisms.split_off(mechanisms.len().min(PLACES - 2));
        let mut places = vec![tiles.insert_tab_tile(whole)];
        places.extend(mechanisms);
        places.push(tiles.insert_tab_tile(last));
        let mut grid = Grid::new(places);
        grid.layout = GridLayout::Columns(2);
        let root = tiles.insert_container(Container::Grid(grid));
        Self {
            tree: Tree::new(Id::unique("panes"), root, tiles),
        }
    }
}

impl Layout {
    /// Makes a layout from elsewhere usable: tiles of unknown panes go, missing panes are added,
    /// and a tree that is none becomes the default.
    pub fn repair(&mut self) {
        if !self.is_tree() {
            *self = Self::default();
            return;
        }
        let known: Vec<&str> = panes::all().iter().map(|p| p.id()).collect();
        let mut seen = HashSet::new();
        let mut spare = Vec::new();
        for (id, tile) in self.tree.tiles.iter() {
            if let Tile::Pane(pane) = tile
                && !(known.contains(&pane.as_str()) && seen.insert(pane.clone()))
            {
                spare.push(*id);
            }
        }
        for id in spare {
            self.tree.remove_recursively(id);
        }
        for pane in known {
            if !seen.contains(pane) && !self.add(pane) {
                *self = Self::default();
                return;
            }
        }
    }

    /// Whether every tile below the root is there, once.
    fn is_tree(&self) -> bool {
        let mut open: Vec<TileId> = self.tree.root().into_iter().collect();
        let mut seen = HashSet::new();
        while let Some(id) = open.pop() {
            let Some(tile) = self.tree.tiles.get(id) else {
                return false;
            };
            if !seen.insert(id) {
                return false;
            }
            if let Tile::Container(container) = tile {
                open.extend(container.children().copied());
            }
        }
        let all = self.tree.tiles.iter().count();
        !seen.is_empty() && seen.len() == all
    }

    /// Adds a pane to the outermost container; `false` if there is none.
    fn add(&mut self, pane: &str) -> bool {
        let tile = self.tree.tiles.insert_pane(pane.to_owned());
        let root = self.tree.root().and_then(|id| self.tree.tiles.get_mut(id));
        match root {
            Some(Tile::Container(container)) => {
                container.add_child(tile);
                true
            }
            _ => false,
        }
    }

    fn tile_of(&self, pane: &str) -> Option<TileId> {
        self.tree.tiles.find_pane(&pane.to_owned())
    }

    /// Whether a pane is shown.
    pub fn is_shown(&self, pane: &str) -> bool {
        self.tile_of(pane)
            .is_some_and(|id| self.tree.is_visible(id))
    }

    /// Shows or hides a pane.
    pub fn toggle(&mut self, pane: &str) {
        if let Some(id) = self.tile_of(pane) {
            self.tree.tiles.toggle_visibility(id);
        }
    }

    /// Shows a pane in front of those it shares its place with.
    pub fn show_pane(&mut self, pane: &str) {
        if !self.is_shown(pane) {
            self.toggle(pane);
        }
        self.bring_forward(pane);
    }

    /// Puts a pane in front of those it shares its place with.
    pub fn bring_forward(&mut self, pane: &str) {
        self.tree
            .make_active(|_, tile| matches!(tile, Tile::Pane(id) if id == pane));
    }

    /// Whether a pane is on the screen, and not behind another; before the first frame all are.
    pub fn is_in_sight(&self, pane: &str) -> bool {
        let drawn = self.tree.root().and_then(|id| self.tree.tiles.rect(id));
        drawn.is_none() || self.rect_of(pane).is_some()
    }

    /// Where a pane is on the screen, if it is.
    pub fn rect_of(&self, pane: &str) -> Option<egui::Rect> {
        let id = self.tile_of(pane)?;
        self.tree.is_visible(id).then(|| self.tree.tiles.rect(id))?
    }

    /// Draws all panes.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        panes: &mut [Box<dyn Pane>],
        cx: Context<'_>,
        asks: &mut Vec<Ask>,
    ) {
        let mut stage = Stage { panes, cx, asks };
        self.tree.ui(&mut stage, ui);
        if !self
            .tree
            .tiles
            .tiles()
            .any(|t| matches!(t, Tile::Pane(p) if self.is_shown(p)))
        {
            ui.centered_and_justified(|ui| {
                ui.weak("All panes are hidden. The View menu shows them.")
            });
        }
    }
}

/// Draws the tiles of one frame.
struct Stage<'a, 'b> {
    panes: &'a mut [Box<dyn Pane>],
    cx: Context<'b>,
    asks: &'a mut Vec<Ask>,
}

impl Stage<'_, '_> {
    fn pane(&mut self, id: &str) -> Option<&mut Box<dyn Pane>> {
        self.panes.iter_mut().find(|p| p.id() == id)
    }
}

impl Behavior<String> for Stage<'_, '_> {
    fn pane_ui(&mut self, ui: &mut Ui, _tile: TileId, pane: &mut String) -> UiResponse {
        let Self { panes, cx, .. } = self;
        if let Some(pane) = panes.iter_mut().find(|p| p.id() == pane.as_str()) {
            ui.painter()
                .rect_filled(ui.max_rect(), 0.0, ui.visuals().panel_fill);
            egui::Frame::new()
                .inner_margin(theme::MARGIN - 2)
                .show(ui, |ui| pane.ui(ui, cx));
        }
        UiResponse::None
    }

    fn tab_title_for_pane(&mut self, pane: &String) -> WidgetText {
        self.pane(pane)
            .map_or_else(|| pane.clone(), |p| p.title().to_owned())
            .into()
    }

    /// The help on the pane that is seen.
    fn top_bar_right_ui(
        &mut self,
        tiles: &Tiles<String>,
        ui: &mut Ui,
        _tile: TileId,
        tabs: &Tabs,
        _scroll: &mut f32,
    ) {
        let Some(Tile::Pane(id)) = tabs.active.and_then(|t| tiles.get(t)) else {
            return;
        };
        let Some(pane) = self.pane(id) else {
            return;
        };
        let (title, help) = (pane.title(), pane.help());
        ui.add_space(theme::SMALL);
        let button = ui.push_id(id, |ui| ui.small_button("?")).inner;
        let name = format!("Help on {}", title.to_lowercase());
        button.widget_info(|| WidgetInfo::labeled(egui::Role::Button, true, &name));
        let shown = egui::Popup::from_toggle_button_response(&button)
            .width(360.0)
            .show(|ui| ui.label(&help));
        if shown.is_none() {
            button.on_hover_text(help);
        }
        let Some(Tile::Pane(id)) = tabs.active.and_then(|t| tiles.get(t)) else {
            return;
        };
        let known = self.panes.iter().map(|p| p.id()).find(|p| p == id);
        if let Some(pane) = known.filter(|p| View::draws(p)) {
            let button = ui
                .push_id((pane, "export"), |ui| ui.small_button("Export"))
                .inner;
            let name = format!("Export {}", title.to_lowercase());
            button.widget_info(|| WidgetInfo::labeled(egui::Role::Button, true, &name));
            let text = "Export this pane: a figure, its numbers, or a view to open again";
            if button.on_hover_text(text).clicked() {
                self.asks.push(Ask::ExportPane(pane));
            }
        }
    }

    fn simplification_options(&self) -> SimplificationOptions {
        SimplificationOptions {
            all_panes_must_have_tabs: true,
            ..SimplificationOptions::default()
        }
    }

    fn tab_bar_height(&self, _style: &egui::Style) -> f32 {
        26.0
    }

    fn gap_width(&self, _style: &egui::Style) -> f32 {
        theme::SMALL
    }

    fn min_size(&self) -> f32 {
        140.0
    }

    fn tab_bar_color(&self, visuals: &Visuals) -> Color32 {
        visuals.faint_bg_color
    }

    fn tab_outline_stroke(
        &self,
        _: &Visuals,
        _: &Tiles<String>,
        _: TileId,
        _: &TabState,
    ) -> Stroke {
        Stroke::NONE
    }

    fn tab_text_color(
        &self,
        visuals: &Visuals,
        _: &Tiles<String>,
        _: TileId,
        state: &TabState,
    ) -> Color32 {
        match state.active {
            true => visuals.text_color(),
            false => visuals.weak_text_color(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(layout: &Layout) -> Vec<String> {
        let tiles = layout.tree.tiles.tiles().filter_map(|t| match t {
            Tile::Pane(p) => Some(p.clone()),
            Tile::Container(_) => None,
        });
        let mut ids: Vec<String> = tiles.collect();
        ids.sort();
        ids
    }

    #[test]
    fn unknown_and_doubled_panes_go_and_missing_ones_come() {
        let mut layout = Layout::default();
        let whole = ids(&layout);
        let gone = layout.tile_of("polarized").unwrap();
        layout.tree.remove_recursively(gone);
        assert!(layout.add("of another version"));
        assert!(layout.add("detections"));
        layout.repair();
        assert_eq!(ids(&layout), whole);
        assert!(layout.is_tree());
    }

    #[test]
    fn a_tree_with_a_circle_or_a_hole_becomes_the_default() {
        let text = serde_json::to_string(&Layout::default()).unwrap();
        let root = Layout::default().tree.root().unwrap();
        let child = Layout::default().tile_of("detections").unwrap();
        let number = |id: TileId| serde_json::to_string(&id).unwrap();
        // The grid names itself, or a tile that is not there, instead of a pane.
        for instead in [number(root), "99".to_owned()] {
            let list = format!("\"children\":[{},", number(child));
            assert!(text.contains(&list), "{text}");
            let broken = text.replace(&list, &format!("\"children\":[{instead},"));
            let mut layout: Layout = serde_json::from_str(&broken).unwrap();
            assert!(!layout.is_tree());
            layout.repair();
            assert_eq!(layout, Layout::default());
        }
    }

    #[test]
    fn panes_are_hidden_and_shown() {
        let mut layout = Layout::default();
        layout.toggle("polarized");
        assert!(!layout.is_shown("polarized"));
        assert!(layout.is_shown("detections"));
        layout.toggle("polarized");
        assert_eq!(layout, Layout::default());
    }
}
