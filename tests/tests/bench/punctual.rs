//! A router at 10 ms: how late its Advertisements leave, on an idle machine and on one whose processors are all wanted
//! by others, and how late a bare loop's packets do in the same seconds.

use std::time::Duration;

use steadfast_tests::lab::Lan;
use steadfast_tests::lab::clock::median;
use steadfast_tests::lab::engine::{Daemon, Engine};
use steadfast_tests::lab::lateness::{Bare, Burners, Heard, Lateness};
use steadfast_tests::lab::spec::Spec;

use super::engines;
use super::sheet::{Good, Row, Sheet, Who};

const ROUTER: usize = 0;
const BARE: usize = 1;
const INTERVAL: Duration = Duration::from_millis(10);
const WINDOW: Duration = Duration::from_secs(10);

pub(super) fn punctual(rounds: usize) -> Sheet {
    let mut sheet = Sheet::default();
    for (burning, machine) in [(false, "idle"), (true, "all processors burning")] {
        let row = |what: &str| Row::new(format!("Router at 10 ms, {machine}: {what}, ms"), 2, Good::Low);
        let mut late = row("lateness of Advertisements at 99.9 %");
        let mut above = row("the same above a bare loop's in the same seconds");
        // On their beat, which keepalived and FRR have none of.
        let mut strictly = Vec::new();
        for _ in 0..rounds {
            for engine in engines() {
                let heard = observe(engine, burning);
                // Who is silent all the time has no figure.
                let Some(adverts) = heard.routers.first().filter(|adverts| adverts.len() > 1) else { continue };
                let bare = Lateness::on_beat(&heard.bare, INTERVAL).p999;
                let router = Lateness::after_each_other(adverts, INTERVAL).p999;
                late.of(engine, router);
                late.add(Who::Bare, bare);
                above.of(engine, router - bare);
                if engine == Engine::Steadfast {
                    strictly.push(Lateness::on_beat(adverts, INTERVAL).p999 - bare);
                }
            }
        }
        let [ours, theirs] = [Engine::Steadfast, Engine::Keepalived].map(|one| above.median(Who::Engine(one)));
        let what = format!("lateness at 99.9 % above a bare loop's, {machine}, ms");
        sheet.append(Sheet::new([late, above]));
        sheet.bound(&format!("{what}, on its beat"), median(&strictly), 1.0);
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            sheet.bound(&format!("{what}, beside keepalived's"), ours, theirs);
        }
    }
    sheet
}

/// Some seconds of a router, with a bare loop beside it.
fn observe(engine: Engine, burning: bool) -> Heard {
    let lan = Lan::new(&["router", "bare"]);
    let _daemon = Daemon::start(engine, &lan, ROUTER, &Spec::v3(1), 200);
    let patience = Duration::from_secs(20);
    lan.capture.wait_advert(lan.capture.mark(), ROUTER, patience, |advert| advert.priority == 200);
    let bare = Bare::start(&lan.host(BARE).namespace, INTERVAL);
    let burners = burning.then(Burners::start);
    // The announcements come twice, 5 s apart.
    std::thread::sleep(Duration::from_secs(6));
    let mark = lan.capture.mark();
    std::thread::sleep(WINDOW);
    let heard = Heard::since(&lan, mark, ROUTER, BARE);
    drop(burners);
    bare.stop();
    heard
}
