import DataflowTesting
import Testing

@testable import WindowAgg

@Suite struct SliceStatesTests {
    @Test(arguments: 1...12 as ClosedRange<UInt64>)
    func `each group has the state it was given, while both groups and states become more`(seed: UInt64) {
        var random = SplitMix(state: seed)
        func n(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
        let states = SliceStates()
        var model: [Int32: Int32] = [:]
        var upperBound = 1
        var hasBeenDense = false
        var hasBeenSparse = false
        for step in 0..<60 {
            // Now the slice gets many of the groups, now others do.
            upperBound += n(step % 20 < 10 ? 50 : 3000)
            states.prepare(for: upperBound)
            for _ in 0..<n(step % 20 < 10 ? 400 : 20) {
                let group = Int32(n(upperBound))
                #expect(states.state(of: group) == model[group, default: -1])
                guard model[group] == nil else { continue }
                let state = Int32(n(1 << 20))
                states.insert(group, state, upperBound: upperBound)
                model[group] = state
            }
            hasBeenDense = hasBeenDense || states.dense != nil
            hasBeenSparse = hasBeenSparse || states.dense == nil
            #expect(states.count == model.count)
        }
        for group in 0..<Int32(upperBound) { #expect(states.state(of: group) == model[group, default: -1]) }
        #expect(hasBeenDense && hasBeenSparse)
    }

    @Test func `a slice with few of many groups has no place for each`() {
        let states = SliceStates()
        for group in 0..<100 as Range<Int32> { states.insert(group * 9000, group, upperBound: 1_000_000) }
        states.prepare(for: 1_000_000)
        #expect(states.dense == nil)
        #expect((0..<100 as Range<Int32>).allSatisfy { states.state(of: $0 * 9000) == $0 })
        #expect(states.state(of: 1) == -1)
    }
}
