//! Every attention module alone against numbers of an independent reference, through the public
//! interface.

mod common;

use attnscope::attention::{Attention, Watch};

use common::compare::{Table, flat};
use common::module::Case;

/// Outputs and maps may be this far from the reference.
const LIMIT: f64 = 1e-5;

#[test]
fn outputs_and_traces_are_those_of_the_reference() {
    let mut tables: [Table; 3] = Default::default();
    for case in Case::all() {
        let module = case.build(true);
        let mechanism = module.mechanism();
        let table = &mut tables[["sta", "bra", "psa"]
            .iter()
            .position(|s| *s == mechanism.short)
            .unwrap()];
        let legal = module.legal(case.map(), &case.knobs);
        assert_eq!(legal.clamps, [], "{}", case.name);
        assert_eq!(legal.values, case.knobs, "{}", case.name);

        let x = case.golden.get("x").tensor();
        let (y, trace) = module.forward(&x, &legal.values, &Watch::All).unwrap();
        let trace = trace.expect("a watched module leaves a trace");
        let reference = case.golden.get("y");
        assert_eq!(y.dims(), reference.shape.as_slice(), "{}", case.name);
        table.check("y", &case.name, &flat(&y), &reference.data, LIMIT);

        assert_eq!(trace.map(), case.map(), "{}", case.name);
        let mut compared = table.check_trace(&case.golden, "", trace.as_ref(), LIMIT);
        compared.sort();
        assert_eq!(compared, case.maps(), "{}", case.name);
    }
    for (table, title) in tables.iter().zip(["sta", "bra", "psa"]) {
        table.print(title);
    }
}

#[test]
fn watching_changes_no_byte_of_the_output() {
    for case in Case::all() {
        let module = case.build(true);
        let x = case.golden.get("x").tensor();
        let (watched, trace) = module.forward(&x, &case.knobs, &Watch::All).unwrap();
        assert!(trace.is_some(), "{}", case.name);
        let (alone, trace) = module.forward(&x, &case.knobs, &Watch::Off).unwrap();
        assert!(trace.is_none(), "{}", case.name);
        assert!(flat(&alone) == flat(&watched), "{}", case.name);
    }
}

#[test]
fn a_knob_acts_like_the_hyperparameter_it_stands_for() {
    for case in Case::all() {
        let x = case.golden.get("x").tensor();
        let forward = |module: &dyn Attention| {
            let (y, _) = module.forward(&x, &case.knobs, &Watch::Off).unwrap();
            flat(&y)
        };
        let (built, turned) = (case.build(true), case.build(false));
        let same = forward(built.as_ref()) == forward(turned.as_ref());
        assert!(same, "{}", case.name);
    }
}

#[test]
fn a_batch_gives_what_its_images_give_alone() {
    for case in Case::all() {
        let module = case.build(true);
        let x = case.golden.get("x").tensor();
        let other = (&x * -0.5).unwrap();
        let both = candle_core::Tensor::cat(&[&other, &x], 0).unwrap();
        let (y, _) = module.forward(&both, &case.knobs, &Watch::Off).unwrap();
        let second = flat(&y.get(1).unwrap());
        let mut table = Table::default();
        let reference = case.golden.get("y");
        table.check("y", &case.name, &second, &reference.data, LIMIT);
    }
}
