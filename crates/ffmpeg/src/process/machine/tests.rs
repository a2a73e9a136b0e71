use super::*;

const SECOND: Duration = Duration::from_secs(1);
const FOREVER: Duration = Duration::from_secs(1 << 40);

/// A process, and the time that passes.
struct Scene {
    now: Instant,
    machine: Machine,
}

/// Starts again after 7 s; stale after 10 s.
fn rules() -> Rules {
    let (delay, stale) = (7 * SECOND, 10 * SECOND);
    Rules { reconnect: true, reconnect_delay: delay, stale_timeout: Some(stale), limits: Limits::default() }
}

impl Scene {
    fn new(rules: Rules) -> Self {
        let now = Instant::now();
        Self { now, machine: Machine::new(now, rules) }
    }

    /// One whose child runs.
    fn running(rules: Rules) -> Self {
        let mut scene = Scene::new(rules);
        assert_eq!(scene.tell(Event::Order(Order::Start)), [Action::Spawn]);
        assert_eq!(scene.tell(Event::Spawned), []);
        scene
    }

    /// What is to be done after it.
    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.machine.handle(self.now, event);
        self.actions()
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.machine.poll()).collect()
    }

    /// The child ends now.
    fn exit(&mut self, exit: Exit) -> (Ended, Vec<Action>) {
        let ended = self.machine.handle(self.now, Event::Exited(exit)).expect("there was one");
        (ended, self.actions())
    }

    /// What is to be done when the deadline comes, and after how long that is.
    fn wait(&mut self) -> (Duration, Vec<Action>) {
        let deadline = self.machine.deadline().expect("it waits for something");
        let waited = deadline.saturating_duration_since(self.now);
        self.now += waited;
        (waited, self.tell(Event::Timeout))
    }

    fn exec(&self) -> Exec {
        self.machine.exec()
    }
}

#[test]
fn a_child_is_asked_to_end_twice_and_then_killed() {
    let mut scene = Scene::running(rules());
    assert_eq!(scene.exec(), Exec::Running);
    assert_eq!(scene.tell(Event::Order(Order::Stop)), [Action::Quit]);
    assert_eq!(scene.exec(), Exec::Finishing);
    assert_eq!(scene.wait(), (4 * SECOND, vec![Action::Interrupt]));
    assert_eq!(scene.wait(), (SECOND, vec![Action::Kill]));
    assert_eq!(scene.machine.deadline(), None, "nothing stronger is left");
    assert_eq!(scene.exit(Exit::Signal(9)), (Ended::Stopped, vec![]));
    assert_eq!((scene.exec(), scene.machine.deadline()), (Exec::Killed, None));
}

#[test]
fn a_child_that_stands_still_is_asked_again_soon() {
    let mut scene = Scene::running(rules());
    scene.now += 2 * SECOND;
    scene.tell(Event::Order(Order::Stop));
    assert_eq!(scene.wait(), (SECOND, vec![Action::Interrupt]));
    assert_eq!(scene.wait(), (4 * SECOND, vec![Action::Kill]));

    let mut scene = Scene::running(rules());
    scene.tell(Event::Waiting(true));
    scene.tell(Event::Order(Order::Stop));
    assert_eq!(scene.wait().0, SECOND, "it waits for its input");

    let mut scene = Scene::running(rules());
    scene.now += 2 * SECOND;
    scene.tell(Event::Progress);
    scene.tell(Event::Order(Order::Stop));
    assert_eq!(scene.wait().0, 4 * SECOND, "it works");
}

#[test]
fn how_a_child_ended_is_told_and_shown() {
    let cases = [
        (Exit::Code(0), Ended::Exited(0), Exec::Finished),
        (Exit::Code(255), Ended::Exited(255), Exec::Finished),
        (Exit::Code(1), Ended::Exited(1), Exec::Failed),
        (Exit::Signal(2), Ended::Signal(2), Exec::Killed),
        (Exit::Signal(9), Ended::Signal(9), Exec::Killed),
    ];
    for (exit, ended, exec) in cases {
        let mut scene = Scene::running(rules());
        assert_eq!(scene.exit(exit), (ended, vec![]), "{exit:?}");
        assert_eq!(scene.exec(), exec, "{exit:?}");
    }
    for (exit, exec) in
        [(Exit::Signal(2), Exec::Finished), (Exit::Code(1), Exec::Failed), (Exit::Signal(9), Exec::Killed)]
    {
        let mut scene = Scene::running(rules());
        scene.tell(Event::Order(Order::Stop));
        assert_eq!(scene.exit(exit).0, Ended::Stopped, "{exit:?}");
        assert_eq!(scene.exec(), exec, "asked to: {exit:?}");
    }
}

#[test]
fn after_every_end_the_next_child_is_started_with_the_delay() {
    for exit in [Exit::Code(0), Exit::Code(1), Exit::Signal(9)] {
        let mut scene = Scene::running(rules());
        scene.now += 100 * SECOND;
        scene.exit(exit);
        assert_eq!(scene.machine.again(), Some(scene.now + 7 * SECOND));
        assert_eq!(scene.wait(), (7 * SECOND, vec![Action::Spawn]), "{exit:?}");
        assert_eq!((scene.exec(), scene.machine.restarts()), (Exec::Starting, 1));
    }
    let mut scene = Scene::new(rules());
    scene.tell(Event::Order(Order::Start));
    let ended = scene.machine.handle(scene.now, Event::NotSpawned("why".into()));
    assert_eq!((ended, scene.exec()), (Some(Ended::NotStarted("why".into())), Exec::Failed));
    assert_eq!(scene.wait(), (7 * SECOND, vec![Action::Spawn]), "one that could not be started");
}

#[test]
fn without_reconnect_an_end_is_final_until_it_is_ordered_again() {
    let mut scene = Scene::running(Rules { reconnect: false, ..rules() });
    scene.exit(Exit::Code(1));
    assert_eq!((scene.machine.deadline(), scene.machine.order()), (None, Order::Start));
    assert_eq!(scene.tell(Event::Order(Order::Start)), [Action::Spawn]);
}

#[test]
fn what_fails_at_once_is_started_once_a_second_whatever_the_delay() {
    let mut scene = Scene::running(Rules { reconnect_delay: Duration::ZERO, ..rules() });
    scene.now += SECOND / 4;
    scene.exit(Exit::Code(1));
    assert_eq!(scene.wait(), (SECOND * 3 / 4, vec![Action::Spawn]));
    scene.tell(Event::Spawned);
    scene.now += 5 * SECOND;
    scene.exit(Exit::Code(1));
    assert_eq!(scene.wait().0, Duration::ZERO, "one that has run longer");
}

#[test]
fn a_delay_beyond_all_time_is_not_an_overflow() {
    let longest = Duration::from_secs(u64::MAX);
    let mut scene = Scene::running(Rules { reconnect_delay: longest, stale_timeout: Some(longest), ..rules() });
    assert_eq!(scene.machine.deadline(), None);
    scene.exit(Exit::Code(0));
    assert_eq!(scene.machine.deadline(), None);
    assert_eq!(scene.tell(Event::Restart), [Action::Spawn]);
}

#[test]
fn an_order_to_stop_ends_the_wait_for_the_next_child() {
    let mut scene = Scene::running(rules());
    scene.exit(Exit::Code(1));
    assert_eq!(scene.tell(Event::Order(Order::Stop)), []);
    assert_eq!((scene.machine.deadline(), scene.machine.again()), (None, None));
    scene.now += 100 * SECOND;
    assert_eq!(scene.tell(Event::Timeout), []);
    assert_eq!(scene.exec(), Exec::Failed, "what became of the last one");
}

#[test]
fn a_start_keeps_the_delay_and_a_restart_does_not() {
    let mut scene = Scene::running(rules());
    scene.exit(Exit::Code(1));
    assert_eq!(scene.tell(Event::Order(Order::Start)), []);
    assert_eq!(scene.tell(Event::Restart), [Action::Spawn]);
    assert_eq!(scene.machine.restarts(), 1);
}

#[test]
fn a_restart_ends_the_child_and_starts_the_next_at_once() {
    let mut scene = Scene::running(Rules { reconnect: false, ..rules() });
    assert_eq!(scene.tell(Event::Restart), [Action::Quit]);
    assert_eq!(scene.exit(Exit::Code(255)), (Ended::Restarted, vec![Action::Spawn]));
    scene.tell(Event::Spawned);
    assert_eq!(scene.machine.restarts(), 1);
    scene.tell(Event::Order(Order::Stop));
    assert_eq!(scene.tell(Event::Restart), [], "it is ordered to stop");
    assert_eq!(scene.exit(Exit::Code(255)), (Ended::Stopped, vec![]));
    assert_eq!(scene.tell(Event::Restart), []);
}

#[test]
fn a_start_while_the_child_is_stopped_starts_the_next_at_once() {
    let mut scene = Scene::running(rules());
    scene.tell(Event::Order(Order::Stop));
    assert_eq!(scene.tell(Event::Order(Order::Start)), []);
    assert_eq!(scene.exit(Exit::Code(0)), (Ended::Stopped, vec![Action::Spawn]));
    scene.tell(Event::Spawned);
    scene.tell(Event::Order(Order::Stop));
    scene.tell(Event::Order(Order::Start));
    scene.tell(Event::Order(Order::Stop));
    assert_eq!(scene.exit(Exit::Code(0)), (Ended::Stopped, vec![]), "the last order counts");
}

#[test]
fn one_that_is_stopped_before_it_is_there_ends_when_it_is() {
    let mut scene = Scene::new(rules());
    assert_eq!(scene.tell(Event::Order(Order::Start)), [Action::Spawn]);
    assert_eq!(scene.tell(Event::Order(Order::Stop)), []);
    assert_eq!(scene.tell(Event::Spawned), [Action::Quit]);
    assert_eq!(scene.exit(Exit::Code(0)), (Ended::Stopped, vec![]));

    let mut scene = Scene::new(rules());
    scene.tell(Event::Order(Order::Start));
    scene.tell(Event::Order(Order::Stop));
    scene.tell(Event::Order(Order::Start));
    assert_eq!(scene.tell(Event::Spawned), [], "it is wanted again");
}

#[test]
fn one_that_is_stopped_before_it_is_there_may_be_given_up() {
    let mut scene = Scene::new(rules());
    scene.tell(Event::Order(Order::Start));
    assert_eq!(scene.machine.handle(scene.now, Event::GivenUp), None, "it is wanted");
    assert!(scene.machine.is_wanted());
    scene.tell(Event::Order(Order::Stop));
    assert!(!scene.machine.is_wanted());
    assert_eq!(scene.machine.handle(scene.now, Event::GivenUp), Some(Ended::Stopped));
    assert_eq!((scene.exec(), scene.actions(), scene.machine.deadline()), (Exec::Finished, vec![], None));
    assert_eq!(scene.tell(Event::Order(Order::Start)), [Action::Spawn]);
}

#[test]
fn restarts_are_counted_from_the_last_order_to_run() {
    let mut scene = Scene::running(rules());
    for restarts in 1..4 {
        scene.exit(Exit::Code(1));
        scene.wait();
        scene.tell(Event::Spawned);
        assert_eq!(scene.machine.restarts(), restarts);
    }
    scene.tell(Event::Order(Order::Start));
    assert_eq!(scene.machine.restarts(), 3, "it runs already");
    scene.tell(Event::Order(Order::Stop));
    scene.tell(Event::Order(Order::Start));
    assert_eq!(scene.exit(Exit::Code(255)), (Ended::Stopped, vec![Action::Spawn]));
    assert_eq!(scene.machine.restarts(), 0, "a stop was ordered in between");
    scene.tell(Event::Spawned);
    scene.tell(Event::Restart);
    scene.tell(Event::Restart);
    scene.exit(Exit::Code(255));
    assert_eq!(scene.machine.restarts(), 1, "one child, however often it was said");

    let mut scene = Scene::running(Rules { reconnect: false, ..rules() });
    scene.tell(Event::Restart);
    scene.exit(Exit::Code(255));
    scene.tell(Event::Spawned);
    scene.exit(Exit::Code(0));
    assert_eq!(scene.machine.restarts(), 1);
    scene.tell(Event::Order(Order::Start));
    assert_eq!(scene.machine.restarts(), 0, "it had ended for good");
}

#[test]
fn a_child_without_progress_is_ended_and_started_again_with_the_delay() {
    let mut scene = Scene::running(rules());
    scene.now += 9 * SECOND;
    scene.tell(Event::Progress);
    assert_eq!(scene.wait(), (10 * SECOND, vec![Action::Quit]));
    assert_eq!(scene.wait(), (SECOND, vec![Action::Interrupt]));
    assert_eq!(scene.wait(), (4 * SECOND, vec![Action::Kill]));
    assert_eq!(scene.exit(Exit::Signal(9)), (Ended::Stale, vec![]));
    assert_eq!(scene.wait(), (7 * SECOND, vec![Action::Spawn]));
}

#[test]
fn a_child_that_waits_for_its_input_is_not_stale_until_that_has_come_and_gone_on() {
    let mut scene = Scene::running(rules());
    scene.tell(Event::Waiting(true));
    assert_eq!(scene.machine.deadline(), None);
    scene.now += 1000 * SECOND;
    assert_eq!(scene.tell(Event::Timeout), []);
    scene.tell(Event::Waiting(false));
    scene.tell(Event::Waiting(false));
    assert_eq!(scene.wait(), (10 * SECOND, vec![Action::Quit]));

    let mut scene = Scene::new(rules());
    scene.tell(Event::Waiting(true));
    scene.tell(Event::Order(Order::Start));
    scene.tell(Event::Spawned);
    assert_eq!(scene.machine.deadline(), None, "known before the child was there");
}

#[test]
fn a_child_above_a_limit_for_too_long_is_ended() {
    let limits = Limits { cpu: Some(50.0), memory: Some(100), wait: 5 * SECOND };
    let cases = [(51.0, 0, Limit::Cpu), (0.0, 101, Limit::Memory)];
    for (cpu, memory, limit) in cases {
        let mut scene = Scene::running(Rules { limits, stale_timeout: None, ..rules() });
        for second in 0..20 {
            // Every fourth second it is below.
            let (cpu, memory) = if second % 4 == 0 { (50.0, 100) } else { (cpu, memory) };
            assert_eq!(scene.tell(Event::Usage(cpu, memory)), [], "after {second} s");
            scene.now += SECOND;
        }
        for _ in 0..2 {
            assert_eq!(scene.tell(Event::Usage(cpu, memory)), []);
            scene.now += SECOND;
        }
        assert_eq!(scene.tell(Event::Usage(cpu, memory)), [Action::Quit], "for 5 s");
        assert_eq!(scene.exit(Exit::Code(255)).0, Ended::Limits(limit));
    }
}

#[test]
fn a_limit_without_patience_and_no_limit() {
    let limits = Limits { cpu: None, memory: Some(100), wait: Duration::ZERO };
    let mut scene = Scene::running(Rules { limits, ..rules() });
    assert_eq!(scene.tell(Event::Usage(1e9, 100)), [], "no limit of CPU");
    assert_eq!(scene.tell(Event::Usage(0.0, 101)), [Action::Quit]);
}

#[test]
fn states_are_counted_as_they_are_entered() {
    let mut scene = Scene::running(rules());
    scene.exit(Exit::Code(1));
    scene.wait();
    scene.tell(Event::Spawned);
    scene.tell(Event::Order(Order::Stop));
    scene.exit(Exit::Signal(9));
    let counts = Exec::ALL.map(|exec| (exec.word(), scene.machine.counts().of(exec)));
    let expected = [("finished", 0), ("starting", 2), ("running", 2), ("finishing", 1), ("failed", 1), ("killed", 1)];
    assert_eq!(counts, expected);
}

/// A child as the world has it.
#[derive(Clone, Copy, PartialEq)]
enum World {
    None,
    Asked,
    There,
}

/// Any order of events, with children that end when they like or only when they are killed: what must always hold.
#[test]
fn random_schedules_keep_every_promise() {
    for seed in 1..400_u64 {
        let mut random = Random(seed);
        let reconnect = random.below(4) > 0;
        let rules = Rules { reconnect, stale_timeout: (random.below(2) == 0).then_some(10 * SECOND), ..rules() };
        let mut scene = Scene::new(rules);
        let mut world = World::None;
        let (mut stopped_at, mut ended_at) = (None, None);
        for step in 0..300 {
            let before = scene.exec();
            let was_idle = world == World::None;
            let event = event(&mut random, world, scene.machine.is_wanted());
            if event == Event::Order(Order::Stop) && scene.machine.order() == Order::Start {
                stopped_at = Some(scene.now);
            } else if event == Event::Order(Order::Start) {
                stopped_at = None;
            }
            match event {
                Event::Spawned => {
                    world = World::There;
                    // Its patience begins when it is there.
                    stopped_at = stopped_at.map(|_| scene.now);
                }
                Event::NotSpawned(_) | Event::Exited(_) | Event::GivenUp => world = World::None,
                _ => {}
            }
            let over = matches!(event, Event::NotSpawned(_) | Event::Exited(_) | Event::GivenUp);
            let unordered = event == Event::Timeout;
            let ended = scene.machine.handle(scene.now, event);
            ended_at = ended.as_ref().map(|_| scene.now).or(ended_at);
            assert_eq!(ended.is_some(), over && !was_idle, "seed {seed}, step {step}: an end is told once");
            for action in scene.actions() {
                match action {
                    Action::Spawn => {
                        assert!(world == World::None, "seed {seed}, step {step}: two children");
                        assert_eq!(scene.machine.order(), Order::Start, "seed {seed}, step {step}: unwanted");
                        let waited = ended_at.map_or(FOREVER, |at| scene.now.saturating_duration_since(at));
                        assert!(!unordered || waited >= 7 * SECOND, "seed {seed}, step {step}: after {waited:?}");
                        world = World::Asked;
                    }
                    _ => assert!(world == World::There, "seed {seed}, step {step}: {action:?} to nobody"),
                }
            }
            assert_eq!(scene.machine.is_idle(), world == World::None, "seed {seed}, step {step}");
            assert!(may_follow(before, scene.exec()), "seed {seed}: {before} to {}", scene.exec());
            if let Some(at) = stopped_at.filter(|_| world == World::There) {
                let patience = scene.now.saturating_duration_since(at);
                assert!(patience <= GRACE || scene.machine.deadline().is_none(), "seed {seed}: not killed");
            }
            pass(&mut scene, &mut random);
        }
    }
}

/// Time goes on, but not beyond the deadline: whoever drives the machine is there then.
fn pass(scene: &mut Scene, random: &mut Random) {
    let left = scene.machine.deadline().map_or(FOREVER, |at| at.saturating_duration_since(scene.now));
    scene.now += left.min(Duration::from_millis(random.below(4000)));
}

fn event(random: &mut Random, world: World, wanted: bool) -> Event {
    match (random.below(12), world) {
        (0, _) => Event::Order(Order::Start),
        (1, _) => Event::Order(Order::Stop),
        (2, _) => Event::Restart,
        (3, _) => Event::Waiting(random.below(2) == 0),
        (4, World::There) => Event::Progress,
        (5, World::There) => Event::Usage(3.0, 7),
        (6, World::There) => {
            [Event::Exited(Exit::Code(0)), Event::Exited(Exit::Code(1)), Event::Exited(Exit::Signal(9))]
                [random.below(3) as usize]
                .clone()
        }
        (7, World::Asked) => Event::NotSpawned(String::new()),
        (8..=9, World::Asked) if !wanted => Event::GivenUp,
        (4..=11, World::Asked) => Event::Spawned,
        // What cannot be.
        (6, World::None) => Event::Exited(Exit::Code(0)),
        (7, World::None) => Event::NotSpawned(String::new()),
        _ => Event::Timeout,
    }
}

/// The table of datarhei Core's states, through a state that lasted no time where one event makes two steps.
fn may_follow(before: Exec, after: Exec) -> bool {
    use Exec::*;
    before == after
        || match before {
            Finished | Killed => after == Starting,
            Failed => after == Starting,
            Starting => matches!(after, Running | Finishing | Failed | Finished),
            Running => matches!(after, Finished | Finishing | Failed | Killed),
            Finishing => matches!(after, Finished | Failed | Killed | Starting),
        }
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}
