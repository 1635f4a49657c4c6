fn main() -> eframe::Result {
    attnscope::app::run(attnscope::app::AppOptions::default())
}
