//! How many deliveries an endpoint may have in flight: more while it answers quickly, fewer when it
//! fails or is slow. An endpoint is doubtful until it has answered quickly, and again when it fails
//! or has not answered for a second. All doubtful ones together have one half of what this process
//! may have in flight, and the others the other half: so a thousand endpoints that hang keep nobody
//! else waiting, and those that begin to hang do so for a second.

use std::collections::HashMap;
use std::time::Duration;

/// How many deliveries a process takes for doubtful endpoints, and as many for the others.
const HALF: usize = 256;
/// How many an endpoint has at most.
pub(super) const WIDEST: usize = 32;
/// How quick an answer must be for a second delivery beside it.
pub const QUICK: Duration = Duration::from_secs(1);
/// After how many endpoints without anything in flight these are forgotten.
const REMEMBERED: usize = 10_000;

/// The windows of all endpoints.
#[derive(Debug, Default)]
pub struct Windows {
    endpoints: HashMap<i64, Window>,
    in_flight: usize,
    doubtful: usize,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    width: usize,
    in_flight: usize,
    doubtful: bool,
}

impl Default for Window {
    fn default() -> Window {
        Window { width: 1, in_flight: 0, doubtful: true }
    }
}

/// What may be taken now.
#[derive(Debug, PartialEq, Eq)]
pub struct Room {
    /// For all endpoints that are not doubtful.
    pub trusted: usize,
    /// For all that are.
    pub doubtful: usize,
    /// For each of these; for any other, which is doubtful, one.
    pub endpoints: Vec<Share>,
}

/// What may be taken for an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The endpoint.
    pub id: i64,
    /// How many deliveries.
    pub most: usize,
    /// Whether it is doubtful.
    pub doubtful: bool,
}

impl Windows {
    /// What may be taken.
    pub fn room(&self) -> Room {
        let share = |(id, window): (&i64, &Window)| Share {
            id: *id,
            most: window.width.saturating_sub(window.in_flight),
            doubtful: window.doubtful,
        };
        Room {
            trusted: HALF.saturating_sub(self.in_flight.saturating_sub(self.doubtful)),
            doubtful: HALF.saturating_sub(self.doubtful),
            endpoints: self.endpoints.iter().map(share).collect(),
        }
    }

    /// A delivery to this endpoint is in flight.
    pub fn begin(&mut self, id: i64) {
        let window = self.endpoints.entry(id).or_default();
        window.in_flight += 1;
        self.in_flight += 1;
        self.doubtful += usize::from(window.doubtful);
    }

    /// A delivery has not been answered for so long that its endpoint is doubtful from now on.
    pub fn is_late(&mut self, id: i64) {
        let Some(window) = self.endpoints.get_mut(&id) else { return };
        window.width = 1;
        if !window.doubtful {
            window.doubtful = true;
            self.doubtful += window.in_flight;
        }
    }

    /// A delivery has come to an end; it has `succeeded` or not, and took so long.
    pub fn end(&mut self, id: i64, succeeded: bool, took: Duration) {
        let Some(window) = self.endpoints.get_mut(&id) else { return };
        let is_well = succeeded && took < QUICK;
        if window.doubtful {
            self.doubtful = self.doubtful.saturating_sub(1);
        }
        window.in_flight = window.in_flight.saturating_sub(1);
        self.in_flight = self.in_flight.saturating_sub(1);
        window.width =
            if is_well { (window.width + 1).min(WIDEST) } else { (window.width / 2).max(1) };
        // The others of the endpoint that are in flight change sides with it.
        match (window.doubtful, !is_well) {
            (false, true) => self.doubtful += window.in_flight,
            (true, false) => self.doubtful = self.doubtful.saturating_sub(window.in_flight),
            _ => {}
        }
        window.doubtful = !is_well;
        if self.endpoints.len() > REMEMBERED {
            self.endpoints.retain(|_, window| window.in_flight > 0);
        }
    }

    /// How many deliveries are in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(5);

    fn share(windows: &Windows, id: i64) -> Share {
        let room = windows.room();
        let known = room.endpoints.into_iter().find(|share| share.id == id);
        known.unwrap_or(Share { id, most: 1, doubtful: true })
    }

    fn well(windows: &mut Windows, id: i64, times: usize) {
        for _ in 0..times {
            windows.begin(id);
            windows.end(id, true, SOON);
        }
    }

    #[test]
    fn a_window_grows_with_quick_answers_and_halves_with_others() {
        let mut windows = Windows::default();
        well(&mut windows, 7, 100);
        assert_eq!(share(&windows, 7), Share { id: 7, most: WIDEST, doubtful: false });
        for (succeeded, took) in [(false, SOON), (true, QUICK)] {
            let before = share(&windows, 7).most;
            windows.begin(7);
            windows.end(7, succeeded, took);
            assert_eq!(share(&windows, 7), Share { id: 7, most: before / 2, doubtful: true });
        }
        for _ in 0..10 {
            windows.begin(7);
            windows.end(7, false, SOON);
        }
        assert_eq!(share(&windows, 7).most, 1);
    }

    #[test]
    fn endpoints_that_hang_leave_half_of_the_room_to_others() {
        let mut windows = Windows::default();
        well(&mut windows, 1, 1);
        for id in 1_000..2_000 {
            if windows.room().doubtful > 0 {
                windows.begin(id);
            }
        }
        let room = windows.room();
        assert_eq!((room.doubtful, room.trusted), (0, HALF));
        for id in 1_000..2_000 {
            windows.end(id, false, Duration::from_secs(15));
        }
        assert_eq!((windows.in_flight(), windows.room().doubtful), (0, HALF));
    }

    #[test]
    fn endpoints_that_were_well_and_hang_leave_the_room_after_a_moment() {
        let mut windows = Windows::default();
        for id in 0..8 {
            well(&mut windows, id, 100);
            (0..WIDEST).for_each(|_| windows.begin(id));
        }
        assert_eq!(windows.room().trusted, 0);
        (0..8).for_each(|id| windows.is_late(id));
        let room = windows.room();
        assert_eq!((room.trusted, room.doubtful), (HALF, 0));
        assert_eq!(share(&windows, 3), Share { id: 3, most: 0, doubtful: true });
    }

    #[test]
    fn what_is_in_flight_changes_sides_with_its_endpoint() {
        let mut windows = Windows::default();
        windows.begin(1);
        windows.begin(1);
        assert_eq!(windows.doubtful, 2);
        windows.end(1, true, SOON);
        assert_eq!(windows.doubtful, 0);
        windows.begin(1);
        windows.end(1, false, SOON);
        assert_eq!((windows.doubtful, windows.in_flight()), (1, 1));
        windows.end(1, false, SOON);
        assert_eq!((windows.doubtful, windows.in_flight()), (0, 0));
    }
}
