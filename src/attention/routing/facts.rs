//! What bi-level routing attention says of a pressed place.

use super::RoutingTrace;
use crate::attention::asked_unit;
use crate::attention::view::{Asked, Fact};

/// How many regions read from a region, in words.
pub(super) fn readers(trace: &RoutingTrace, region: usize) -> String {
    let ids = trace.routed.data().iter();
    match ids.filter(|id| **id as usize == region).count() {
        1 => "1 region".into(),
        n => format!("{n} regions"),
    }
}

/// What lies at the pressed cell.
pub(super) fn facts(trace: &RoutingTrace, asked: &Asked) -> Vec<Fact> {
    let Some(region) = asked_unit(trace, asked) else {
        return Vec::new();
    };
    let fact = |name: &str, value: String| Fact {
        name: name.into(),
        value,
    };
    let padding = if trace.is_padding(region) {
        ", padding only"
    } else {
        ""
    };
    let routes = trace.routes(region);
    let mut list: Vec<String> = routes
        .iter()
        .take(4)
        .map(|(routed, weight)| format!("{routed} {weight:.2}"))
        .collect();
    if routes.len() > list.len() {
        list.push(format!("{} more", routes.len() - list.len()));
    }
    vec![
        fact("region", format!("{region}{padding}")),
        fact("reads from", list.join(", ")),
        fact("read by", readers(trace, region)),
    ]
}
