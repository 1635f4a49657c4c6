use attnscope::{attention::Watch, checkpoint::Model, engine::*, picture::Photo};
use std::sync::Arc;
#[test]
fn smoke() {
    let model = Arc::new(Model::bundled(&candle_core::Device::Cpu).unwrap());
    let photo = Arc::new(Photo::open(std::path::Path::new("assets/samples/chelsea.png")).unwrap());
    let mut e = Engine::default();
    let mut settings = Settings::default();
    settings.watch_all(&model, &Watch::All);
    for k in [4usize, 5, 4] {
        settings
            .knobs
            .entry(8)
            .or_default()
            .insert("topk".into(), attnscope::attention::KnobValue::Int(k));
        let o = e
            .run(
                &Wish {
                    number: 1,
                    photo: photo.clone(),
                    model: model.clone(),
                    settings: settings.clone(),
                },
                &mut (),
            )
            .unwrap();
        for d in &o.detected.list {
            println!("{} {:.3} {:?}", model.classes[d.class], d.score, d.rect);
        }
        println!(
            "{:?} ran {} {:?}",
            o.timing.total, o.timing.ran, o.timing.by_row
        );
    }
}
