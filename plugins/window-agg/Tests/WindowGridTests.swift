import DataflowOperator
import Testing

@testable import WindowAgg

@Suite struct WindowGridTests {
    @Test(
        arguments: [
            (0, 0), (9, 0), (10, 10), (-1, -10), (-10, -10), (-11, -20), (.max, .max - 7), (.min, .min),
            (.min + 1, .min),
        ] as [(Int64, Int64)])
    func `windows are cut by floor division, also before the epoch and at the ends of time`(time: Int64, start: Int64) {
        #expect(WindowGrid(size: 10).start(of: time) == start)
        #expect(WindowGrid(size: 10).end(start) >= time)
    }

    @Test func `an offset moves the grid and is taken modulo the distance of the windows`() {
        for offset in [3, 13, -7] as [Int64] {
            let grid = WindowGrid(size: 10, offset: offset)
            #expect([2, 3, 12, 13, -7, -8].map { grid.start(of: $0) } == [-7, 3, 3, 13, -7, -17])
        }
        #expect(WindowGrid(size: 10, every: 4, offset: 9).start(of: 0) == -3)
    }

    @Test(
        arguments: [(10, 10, 0), (10, 4, 0), (10, 4, 1), (60, 10, 0), (7, 7, 3), (10, 3, 2), (9, 8, 0), (5, 1, 0)]
            as [(Int64, Int64, Int64)])
    func `a slice is the windows that a time lies in, cut at their starts and ends only`(
        size: Int64, every: Int64, offset: Int64
    ) {
        let grid = WindowGrid(size: size, every: every, offset: offset)
        let times = Array(-150...150 as ClosedRange<Int64>)
        let starts = times.filter { ($0 - offset) % every == 0 }
        var slices: Set<[Int64]> = []
        for time in times where time > -100 {
            let windows = starts.filter { $0 <= time && time < $0 + size }
            let slice = grid.slice(of: time)
            #expect(slice.first == windows.first && slice.last == windows.last, "at \(time)")
            #expect(grid.firstEnding(after: time) == starts.first { $0 + size > time }, "at \(time)")
            slices.insert([slice.first, slice.last])
        }
        #expect(Int64(slices.count) <= 2 * (251 / every + 2))

        // A column at a time, forth and back.
        for times in [times, times.reversed()] {
            times.withUnsafeBufferPointer { times in
                let lasts = Values<Int64>(count: times.count) { grid.starts(times, into: $0) }
                let firsts = Values<Int64>(count: times.count) { target in
                    lasts.withUnsafeBufferPointer { grid.firsts(times, lasts: $0, into: target) }
                }
                for (i, time) in times.enumerated() {
                    let slice = grid.slice(of: time)
                    #expect(slice.first == firsts[i] && slice.last == lasts[i], "at \(time)")
                }
            }
        }
    }

    @Test func `overlapping windows saturate at the ends of time and every time keeps a window`() {
        let grid = WindowGrid(size: 10, every: 4)
        for time in [.min, .min + 1, .min + 9, .min + 30, .max - 30, .max - 1, .max] as [Int64] {
            let slice = grid.slice(of: time)
            #expect(slice.first <= slice.last && slice.last <= time && grid.end(slice.last) >= time)
            let (times, lasts) = ([time], [slice.last])
            let firsts = Values<Int64>(count: 1) { target in
                times.withUnsafeBufferPointer { times in
                    lasts.withUnsafeBufferPointer { grid.firsts(times, lasts: $0, into: target) }
                }
            }
            #expect(firsts[0] == slice.first)
        }
        #expect(grid.firstEnding(after: .min) == .min && grid.firstEnding(after: .max) == .max)
    }
}
