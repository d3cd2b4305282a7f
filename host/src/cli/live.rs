//! One line a pipeline at the foot of the terminal: state, rates, lag, dead letters and what is in flight.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    status::{PipelineStatus, PipelineView, Status},
    telemetry::log::Screen,
};

/// How often the lines are written anew.
const INTERVAL: Duration = Duration::from_millis(250);
/// Over how many intervals rates are taken, so that they can be read: 2 s.
const WINDOW: usize = 8;

/// The live lines of a host. Nothing is shown where standard error is no terminal.
#[derive(Debug)]
pub struct Live {
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Live {
    /// Shows one line for each pipeline that `status` has now, until [`Live::finish`] or the drop.
    pub fn start(screen: &Screen, status: &Status) -> Self {
        let stop = CancellationToken::new();
        if !screen.is_terminal() {
            return Self { stop, task: None };
        }
        let pipelines = status.pipelines();
        let width = pipelines.iter().map(|pipeline| pipeline.name().chars().count()).max().unwrap_or(0);
        // Without a spinner the bar is its message; the template is cut at the edge of the terminal.
        let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        let mut rows: Vec<Row> = pipelines
            .into_iter()
            .map(|pipeline| Row {
                bar: screen.progress().add(ProgressBar::no_length().with_style(style.clone())),
                rates: Rates::new(&pipeline.view(), Instant::now()),
                pipeline,
                width,
            })
            .collect();
        let (stopped, screen) = (stop.clone(), screen.clone());
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(INTERVAL);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    () = stopped.cancelled() => break,
                    _ = ticks.tick() => rows.iter_mut().for_each(Row::show),
                }
            }
            rows.iter_mut().for_each(|row| row.finish(&screen));
        });
        Self { stop, task: Some(task) }
    }

    /// Leaves one line of totals for each pipeline and shows no more.
    pub async fn finish(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // The task does nothing that can fail; if it did, the lines are gone and that is all.
            let _ = task.await;
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Row {
    bar: ProgressBar,
    rates: Rates,
    pipeline: PipelineStatus,
    width: usize,
}

impl Row {
    fn show(&mut self) {
        let view = self.pipeline.view();
        let rates = self.rates.update(&view, Instant::now());
        self.bar.set_message(line(self.pipeline.name(), self.width, &view, rates));
        self.bar.tick();
    }

    /// The live line goes and its totals stay as a line of its own, which later log lines do not wipe out.
    fn finish(&mut self, screen: &Screen) {
        self.bar.finish_and_clear();
        let view = self.pipeline.view();
        let text = summary(self.pipeline.name(), self.width, &view, self.rates.age(Instant::now()));
        screen.write(format!("{text}\n").as_bytes());
    }
}

/// Events a second, in and out, over the window.
struct Rates {
    begun: Instant,
    samples: VecDeque<(Instant, u64, u64)>,
}

impl Rates {
    fn new(view: &PipelineView, now: Instant) -> Self {
        Self { begun: now, samples: VecDeque::from([(now, view.counts.events_in, view.counts.events_out)]) }
    }

    fn update(&mut self, view: &PipelineView, now: Instant) -> (f64, f64) {
        let (events_in, events_out) = (view.counts.events_in, view.counts.events_out);
        self.samples.push_back((now, events_in, events_out));
        if self.samples.len() > WINDOW + 1 {
            self.samples.pop_front();
        }
        let Some(&(then, old_in, old_out)) = self.samples.front() else { return (0.0, 0.0) };
        let seconds = now.duration_since(then).as_secs_f64();
        let rate = |new: u64, old: u64| if seconds >= 0.1 { new.saturating_sub(old) as f64 / seconds } else { 0.0 };
        (rate(events_in, old_in), rate(events_out, old_out))
    }

    fn age(&self, now: Instant) -> Duration {
        now.duration_since(self.begun)
    }
}

/// What a narrow terminal cuts off stands last: the reason of a problem and how far a copy is come first.
fn line(name: &str, width: usize, view: &PipelineView, (rate_in, rate_out): (f64, f64)) -> String {
    let mut text = format!("{name:width$}  {:8}", view.state.as_str());
    if let Some(problem) = &view.problem {
        text.push_str(&format!("  {} {}", problem.code, one_line(&problem.reason)));
    }
    if let Some(copy) = view.source.copy.as_ref().filter(|copy| !copy.done) {
        text.push_str(&format!("  copy {} {} %", bar(copy.percent()), copy.percent()));
        if let Some(left) = copy.seconds_left {
            text.push_str(&format!(", {} left", seconds(left as f64)));
        }
    }
    text.push_str(&format!(
        "  in {:>7}/s  out {:>7}/s  lag {:>6}  dead {}  flight {}",
        count(rate_in.round() as u64),
        count(rate_out.round() as u64),
        seconds(view.lag_seconds),
        count(dead(view)),
        view.in_flight.batches,
    ));
    text
}

/// `[####......]`
fn bar(percent: u64) -> String {
    let full = usize::try_from(percent / 10).unwrap_or(0).min(10);
    format!("[{}{}]", "#".repeat(full), ".".repeat(10 - full))
}

fn summary(name: &str, width: usize, view: &PipelineView, age: Duration) -> String {
    let mut text = format!(
        "{name:width$}  {}  {} in, {} out, {} filtered, {} dead in {}",
        view.state.as_str(),
        count(view.counts.events_in),
        count(view.counts.events_out),
        count(view.counts.filtered),
        count(dead(view)),
        seconds(age.as_secs_f64()),
    );
    if let Some(problem) = &view.problem {
        text.push_str(&format!("; {} {}", problem.code, one_line(&problem.reason)));
    }
    text
}

fn dead(view: &PipelineView) -> u64 {
    view.counts.dead_letters.values().sum()
}

/// A server's words may hold line breaks and escape sequences; a live line may not.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `1,234,567`
fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// `40ms`, `1.2s`, `3m05s`, `2h14m`
fn seconds(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        _ if seconds < 0.9995 => format!("{:.0}ms", seconds * 1000.0),
        0..60 => format!("{seconds:.1}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        _ => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Live, Rates, count, line, seconds, summary};
    use crate::{
        error::{Code, Fault},
        source::mongodb::CopyProgress,
        status::{PipelineParts, State, Status},
        telemetry::{
            log::Screen,
            metrics::{DeadLetterKind, Metrics},
        },
    };

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 0.04, 0.9996, 1.25, 185.0, 8040.0].map(seconds),
            ["0ms", "40ms", "1.0s", "1.2s", "3m05s", "2h14m"]
        );
    }

    #[test]
    fn a_line_tells_rates_and_the_problem_and_the_last_one_the_totals() {
        let status = Status::new(Metrics::new());
        let parts = PipelineParts { sinks: vec![("s".to_owned(), "file".to_owned())], ..PipelineParts::default() };
        let pipeline = status.add_pipeline("p", parts);
        pipeline.set_state(State::Running);
        let begun = Instant::now();
        let mut rates = Rates::new(&pipeline.view(), begun);
        pipeline.metrics().events_in.inc_by(3000);
        pipeline.sinks()[0].events_out.inc_by(2000);
        pipeline.metrics().dead_letters(DeadLetterKind::Trap).inc();
        pipeline.set_in_flight(2);
        let view = pipeline.view();
        let taken = rates.update(&view, begun + Duration::from_secs(2));
        assert_eq!(taken, (1500.0, 1000.0));
        assert_eq!(
            line("p", 3, &view, taken),
            "p    running   in   1,500/s  out   1,000/s  lag    0ms  dead 1  flight 2"
        );
        let copy = CopyProgress { documents: 30, of_documents: 120, seconds_left: Some(65), ..CopyProgress::default() };
        pipeline.source_copies(&copy);
        let copying = line("p", 1, &pipeline.view(), taken);
        assert!(copying.starts_with("p  running   copy [##........] 25 %, 1m05s left  in   1,500/s "), "{copying}");
        pipeline.source_copies(&CopyProgress { done: true, ..copy });
        pipeline.sink_failed(0, &Fault::transient(Code::RedisUnreachable, "redis is\ngone"));
        let failing = line("p", 1, &pipeline.view(), taken);
        assert!(failing.contains("  TG0401 redis is gone  in   1,500/s "), "{failing}");
        pipeline.sink_connected(0);
        pipeline.set_state(State::Finished);
        assert_eq!(
            summary("p", 1, &pipeline.view(), Duration::from_secs(3)),
            "p  finished  3,000 in, 2,000 out, 0 filtered, 1 dead in 3.0s"
        );
    }

    #[tokio::test]
    async fn rates_follow_the_last_seconds_and_an_unwatched_host_shows_nothing() {
        let status = Status::new(Metrics::new());
        let pipeline = status.add_pipeline("p", PipelineParts::default());
        let begun = Instant::now();
        let mut rates = Rates::new(&pipeline.view(), begun);
        pipeline.metrics().events_in.inc_by(1000);
        let at = |tick: u32| begun + Duration::from_millis(250) * tick;
        let seen: Vec<f64> = (1..=9).map(|tick| rates.update(&pipeline.view(), at(tick)).0).collect();
        assert_eq!((seen[0], seen[7], seen[8]), (4000.0, 500.0, 0.0));

        let screen = Screen::stderr();
        if !screen.is_terminal() {
            let live = Live::start(&screen, &status);
            assert!(live.task.is_none());
            live.finish().await;
        }
    }
}
