//! A path in virtual time: what is lost on it, asked for, and sent again.

use super::*;

const MILLI: Duration = Duration::from_millis(1);

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

/// A sender at a steady rate, and a path that loses packets and requests.
struct Path {
    /// Packets a second: 8 Mbit/s are 833.
    rate: u32,
    rtt: Duration,
    /// What the machine is told of it.
    told: Option<Duration>,
    /// Of a hundred, each way.
    loss: u64,
    /// Packets may come later than others by up to this.
    jitter: Duration,
    /// The sender resends by RTX.
    rtx: bool,
    first: u64,
    packets: u64,
}

impl Default for Path {
    fn default() -> Path {
        let rtt = Duration::from_millis(100);
        Path { rate: 833, rtt, told: None, loss: 5, jitter: Duration::ZERO, rtx: false, first: 65_000, packets: 10_000 }
    }
}

#[derive(Debug, Default)]
struct Outcome {
    lost: u64,
    /// Numbers that never came.
    never: u64,
    /// Came after the window had gone on.
    too_late: u64,
    /// Packets of requests, and numbers asked for in all.
    requests: u64,
    numbers: u64,
    /// Numbers asked for that were not lost.
    needless: u64,
    /// Of them, those of the last half.
    needless_at_last: u64,
    longest: usize,
    worst: Duration,
    /// Numbers that came by themselves after later ones.
    overtaken: u64,
    /// The longest and the average time from when a number that was lost was missed to when it was asked for.
    asked_after: Duration,
    asked_on_average: Duration,
}

impl Path {
    /// Plays it, until long after the last packet.
    fn play(&self) -> Outcome {
        let mut random = Random(0x5eed);
        let (start, mut missing, mut outcome) = (Instant::now(), Missing::default(), Outcome::default());
        // When what arrives at whichever end: (time, number, whether it was sent again).
        let mut coming: Vec<(Instant, u64, bool)> = Vec::new();
        let mut asked: Vec<(Instant, Vec<u16>)> = Vec::new();
        let mut came = std::collections::HashMap::new();
        let mut waited = Duration::ZERO;
        let mut sent = 0;
        let mut lost = std::collections::HashMap::new();
        let end = start + Duration::from_secs_f64(self.packets as f64 / f64::from(self.rate)) + 4 * LATEST;
        let mut now = start;
        while now < end {
            // What was sent of late.
            while sent < self.packets && start + Duration::from_secs_f64(sent as f64 / f64::from(self.rate)) <= now {
                let (index, jitter) = (self.first + sent, self.jitter.as_millis() as u64);
                // The last ones come: nobody could tell that they are missing.
                if random.below(100) < self.loss && sent + 5 < self.packets {
                    lost.insert(index, now);
                } else {
                    coming.push((now + MILLI * random.below(jitter + 1) as u32, index, false));
                }
                sent += 1;
            }
            // What the sender is asked for.
            let heard: Vec<u16> = asked.extract_if(.., |(at, _)| *at <= now).flat_map(|(_, numbers)| numbers).collect();
            for number in heard {
                let newest = self.first + sent - 1;
                let index = newest - u64::from((newest as u16).wrapping_sub(number));
                if random.below(100) >= self.loss {
                    let jitter = random.below(self.jitter.as_millis() as u64 + 1) as u32;
                    coming.push((now + self.rtt / 2 + MILLI * jitter, index, true));
                }
            }
            let arrived: Vec<(Instant, u64, bool)> = coming.extract_if(.., |(at, ..)| *at <= now).collect();
            for (_, index, again) in arrived {
                let newest = missing.newest.unwrap_or_default();
                if came.insert(index, now).is_none() {
                    outcome.too_late += u64::from(index + WINDOW <= newest);
                    missing.arrived(now, index, Came::by(again && self.rtx, self.rtx));
                    outcome.overtaken += u64::from(!again && index < newest);
                    if let Some(since) = lost.get(&index) {
                        outcome.worst = outcome.worst.max(now - *since);
                    }
                } else if !(again && self.rtx) {
                    missing.came_again(now, index);
                }
            }
            outcome.longest = outcome.longest.max(missing.gaps.len());
            let mut numbers = Vec::new();
            missing.poll(now, self.told, &mut numbers);
            if !numbers.is_empty() {
                outcome.requests += 1;
                outcome.numbers += numbers.len() as u64;
                let newest = missing.newest.expect("something is missing");
                let index = |number: &u16| newest - u64::from((newest as u16).wrapping_sub(*number));
                for index in numbers.iter().map(index) {
                    let gap = missing.gaps.iter().find(|gap| gap.index == index).expect("it is missing");
                    if !lost.contains_key(&index) {
                        outcome.needless += 1;
                        outcome.needless_at_last += u64::from(index > self.first + self.packets / 2);
                    } else if gap.tries == 1 {
                        outcome.asked_after = outcome.asked_after.max(now - gap.since);
                        waited += now - gap.since;
                    }
                }
                if random.below(100) >= self.loss {
                    asked.push((now + self.rtt / 2, numbers));
                }
            }
            now += MILLI;
        }
        outcome.lost = lost.len() as u64;
        outcome.asked_on_average = waited / outcome.lost.max(1) as u32;
        outcome.never = lost.keys().filter(|index| !came.contains_key(index)).count() as u64;
        outcome
    }
}

/// What is asked for each millisecond, by when.
fn asks(missing: &mut Missing, from: Instant, millis: u32, rtt: Option<Duration>) -> Vec<(u32, Vec<u16>)> {
    let mut asks = Vec::new();
    for at in 0..millis {
        let mut numbers = Vec::new();
        missing.poll(from + MILLI * at, rtt, &mut numbers);
        if !numbers.is_empty() {
            asks.push((at, numbers));
        }
    }
    asks
}

fn after(indices: impl IntoIterator<Item = u64>) -> (Missing, Instant) {
    let (mut missing, now) = (Missing::default(), Instant::now());
    indices.into_iter().for_each(|index| missing.arrived(now, index, Came::Either));
    (missing, now)
}

#[test]
fn what_is_lost_both_ways_is_repaired_on_paths_of_every_length() {
    for millis in [1, 20, 100, 200] {
        for told in [None, Some(MILLI * millis)] {
            let path = Path { rtt: MILLI * millis, told, ..Path::default() };
            let outcome = path.play();
            assert!((400..600).contains(&outcome.lost), "{millis} ms: {outcome:?}");
            assert_eq!((outcome.never, outcome.too_late, outcome.needless), (0, 0, 0), "{millis} ms: {outcome:?}");
            // A tenth of the requests comes to nothing, and while nothing is known of the path some are too many.
            assert!(outcome.numbers < outcome.lost * 13 / 10, "{millis} ms, {told:?}: {outcome:?}");
            assert!(outcome.requests <= outcome.numbers && outcome.longest < 64, "{millis} ms: {outcome:?}");
        }
    }
}

#[test]
fn half_a_second_of_8_mbit_is_reached() {
    // As OBS, which reports nothing of round trips, and as a browser.
    for told in [None, Some(Duration::from_millis(500))] {
        let path = Path { rtt: Duration::from_millis(500), told, ..Path::default() };
        let outcome = path.play();
        // Two requests at most are answered in time, of which one in ten comes to nothing.
        assert!(outcome.never + outcome.too_late <= outcome.lost / 50, "{told:?}: {outcome:?}");
        assert!(outcome.numbers < outcome.lost * 14 / 10, "{told:?}: {outcome:?}");
    }
}

#[test]
fn at_20_mbit_a_fifth_of_a_second_is_reached() {
    // Packets of viewers are resent, sealed and opened within 1024 as well: that is all there is, 490 ms.
    let path = Path { rate: 2083, rtt: Duration::from_millis(200), packets: 20_000, ..Path::default() };
    let outcome = path.play();
    assert!(outcome.never + outcome.too_late <= outcome.lost * 3 / 100, "{outcome:?}");
    assert!(outcome.longest < MOST / 4, "{outcome:?}");
}

#[test]
fn what_is_only_overtaken_is_not_asked_for() {
    let path = Path { loss: 0, jitter: Duration::from_millis(9), ..Path::default() };
    assert_eq!(path.play().numbers, 0);
    // Of up to 50 ms, the wait is learned from the first ones that were asked for.
    for (millis, rtx) in [(20, true), (20, false), (40, true), (40, false)] {
        let path = Path { loss: 0, jitter: Duration::from_millis(millis), rtx, ..Path::default() };
        let outcome = path.play();
        assert!(outcome.overtaken > 5000 && outcome.never == 0, "{millis} ms, {rtx}: {outcome:?}");
        assert!(outcome.needless < outcome.overtaken / 20, "{millis} ms, {rtx}: {outcome:?}");
        assert!(outcome.needless_at_last < outcome.overtaken / 50, "{millis} ms, {rtx}: {outcome:?}");
    }
}

#[test]
fn on_a_path_that_reorders_and_loses_what_is_lost_is_asked_for_when_the_rest_has_come() {
    // As with RTX, and as OBS: what comes again tells that it was asked for in vain.
    for (rtx, told) in [(true, Some(Duration::from_millis(200))), (false, None)] {
        let rtt = Duration::from_millis(200);
        let path = Path { loss: 1, rtt, told, jitter: Duration::from_millis(20), rtx, ..Path::default() };
        let outcome = path.play();
        assert_eq!((outcome.never, outcome.too_late), (0, 0), "{rtx}: {outcome:?}");
        assert!(outcome.overtaken > 5000 && outcome.needless < outcome.overtaken / 30, "{rtx}: {outcome:?}");
        let average = outcome.asked_on_average.as_millis();
        assert!((14..30).contains(&average), "{rtx}: {outcome:?}");
    }
}

#[test]
fn on_a_path_that_only_loses_nothing_is_waited_for_longer_than_at_first_and_soon_less() {
    for rtx in [true, false] {
        let outcome = Path { rtx, ..Path::default() }.play();
        assert!(outcome.asked_after < Reordering::default().wait() + PACE, "{rtx}: {outcome:?}");
        assert!(outcome.asked_on_average < Duration::from_millis(6), "{rtx}: {outcome:?}");
    }
}

#[test]
fn what_came_after_it_was_asked_for_is_an_answer_unless_it_comes_again() {
    for again in [true, false] {
        let (mut missing, now) = after([0, 2]);
        assert_eq!(asks(&mut missing, now, 12, None), [(10, vec![1])]);
        missing.arrived(now + 19 * MILLI, 1, Came::Either);
        assert!(missing.is_in_doubt(1) && !missing.is_in_doubt(2));
        if again {
            missing.came_again(now + 200 * MILLI, 1);
        }
        let later = now + AGE + 20 * MILLI;
        missing.arrived(later, 4, Came::Either);
        assert!(!missing.is_in_doubt(1));
        // It waits for what is overtaken, or no longer; and asks again when an answer would have come.
        let asks: Vec<u32> = asks(&mut missing, later, 300, None).into_iter().map(|(at, _)| at).collect();
        assert_eq!(asks[..2], if again { [20, 234] } else { [10, 30] }, "{asks:?}");
    }
}

#[test]
fn doubts_are_bounded_the_oldest_is_an_answer() {
    let (mut missing, now) = after([0, 400]);
    let mut numbers = Vec::new();
    missing.poll(now + 10 * MILLI, None, &mut numbers);
    (1..400).for_each(|index| missing.arrived(now + 15 * MILLI, index, Came::Either));
    assert_eq!(missing.doubts.len(), DOUBTS.min(numbers.len()));
    assert!(missing.answer.is_some());
    missing.forget();
    assert!(missing.doubts.is_empty());
}

#[test]
fn a_number_is_asked_for_after_a_moment_and_then_by_the_time_of_an_answer() {
    for (rtt, expected) in [
        (None, vec![10, 110, 260, 485, 823]),
        (Some(MILLI), vec![10, 30, 60, 105, 173, 275, 427, 655, 997]),
        (Some(80 * MILLI), vec![10, 100, 235, 438, 742]),
        (Some(500 * MILLI), vec![10, 573]),
        (Some(Duration::from_secs(60)), vec![10]),
    ] {
        let (mut missing, now) = after([5, 7]);
        let asks = asks(&mut missing, now, 5000, rtt);
        assert!(asks.iter().all(|(_, numbers)| *numbers == [6]), "{asks:?}");
        assert_eq!(asks.iter().map(|(at, _)| *at).collect::<Vec<_>>(), expected, "{rtt:?}");
        assert_eq!((missing.take_given_up(), missing.take_given_up()), (Some(6), None));
        assert_eq!((missing.gaps.len(), missing.deadline()), (0, None));
    }
}

#[test]
fn requests_are_bounded_in_number() {
    let (mut missing, now) = after([5, 7]);
    missing.answer = Some(Duration::ZERO);
    for gap in &mut missing.gaps {
        gap.since = now + Duration::from_secs(100);
    }
    assert_eq!(asks(&mut missing, now, 60_000, None).len(), TRIES as usize);
}

#[test]
fn the_time_of_answers_is_learned_where_nothing_else_tells_it() {
    let (mut missing, mut now) = after([0]);
    for index in (2..40).step_by(2) {
        missing.arrived(now, index, Came::Either);
        asks(&mut missing, now, 400, None);
        missing.arrived(now + 410 * MILLI, index - 1, Came::Either);
        now += 500 * MILLI;
    }
    missing.arrived(now, 100, Came::Either);
    let times: Vec<u32> = asks(&mut missing, now, 1000, None).into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [10, 460]);
    // What was measured is no longer than the sender takes.
    let times: Vec<u32> = asks(&mut missing, now + 1000 * MILLI, 1000, Some(MILLI)).iter().map(|(at, _)| *at).collect();
    assert!(times.len() <= 1, "{times:?}");
}

#[test]
fn what_comes_is_not_asked_for_and_numbers_wrap() {
    let (mut missing, now) = after([65_530, 65_533, 65_539, 65_534]);
    missing.arrived(now, 65_531, Came::Either);
    missing.arrived(now, 65_531, Came::Either);
    assert_eq!(asks(&mut missing, now, 20, None), [(10, vec![65_532, 65_535, 0, 1, 2])]);
    for index in [65_532, 65_535, 65_536, 65_537, 65_538] {
        missing.arrived(now, index, Came::Either);
    }
    assert_eq!(asks(&mut missing, now + 20 * MILLI, 2000, None), []);
    assert_eq!(missing.take_given_up(), None);
}

#[test]
fn nothing_before_the_first_packet_is_missing() {
    let (mut missing, now) = after([1000, 990, 1001, 0]);
    assert_eq!(asks(&mut missing, now, 2000, None), []);
}

#[test]
fn requests_keep_their_pace() {
    let (mut missing, start) = after([0]);
    let mut asked = Vec::new();
    for at in 0..1000 {
        let (now, mut numbers) = (start + MILLI * at, Vec::new());
        // Every other packet is lost.
        missing.arrived(now, 2 * u64::from(at) + 2, Came::Either);
        missing.poll(now, Some(Duration::from_secs(1)), &mut numbers);
        if !numbers.is_empty() {
            asked.push((at, numbers.len()));
        }
    }
    assert!(asked.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 10), "{asked:?}");
    assert_eq!(asked.len(), 99);
}

#[test]
fn what_the_stream_can_no_longer_place_is_given_up() {
    let (mut missing, now) = after([0, 2]);
    (3..1025).for_each(|index| missing.arrived(now, index, Came::Either));
    assert_eq!((missing.take_given_up(), missing.gaps.len()), (None, 1));
    missing.arrived(now, 1025, Came::Either);
    assert_eq!((missing.take_given_up(), missing.gaps.len()), (Some(1), 0));
}

#[test]
fn a_leap_is_not_asked_for_and_a_flood_of_leaps_is_bounded() {
    let (mut missing, now) = after([0, 2, 30_002]);
    assert_eq!((missing.take_given_up(), missing.gaps.len()), (Some(30_001), 0));
    assert_eq!(asks(&mut missing, now, 2000, None), []);
    let (mut missing, start) = after([0]);
    let (mut index, mut numbers, mut requests) = (0, 0, 0);
    for at in 0..1000 {
        let now = start + MILLI * at;
        // Ten packets a millisecond that each leave out as many as are believed.
        for _ in 0..10 {
            index += MOST as u64;
            missing.arrived(now, index, Came::Either);
            assert!(missing.gaps.len() <= MOST && missing.gaps.capacity() <= 2 * MOST);
        }
        let mut asked = Vec::new();
        missing.poll(now, None, &mut asked);
        numbers += asked.len();
        requests += usize::from(!asked.is_empty());
    }
    assert!(numbers <= 100 * MOST && requests <= 100, "{numbers} in {requests}");
}
