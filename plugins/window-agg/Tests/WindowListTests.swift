import Testing

@testable import WindowAgg

@Suite struct `Window list` {
    private func all(_ list: WindowList) -> [Int64] {
        var list = list
        return Array(sequence(state: ()) { _ in list.popFirst() })
    }

    @Test func `runs of windows come out one by one, in order`() {
        var list = WindowList(every: 10)
        #expect(all(list) == [])
        #expect(list.append(from: -20, through: 5) == 0)
        #expect(list.append(from: 30, through: 30) == 30)
        #expect(list.append(from: 50, through: 70) == 70)
        #expect(all(list) == [-20, -10, 0, 30, 50, 60, 70])
    }

    @Test func `the whole range of times is one run`() {
        var list = WindowList(every: 1)
        #expect(list.append(from: .min, through: .max) == .max)
        #expect(list.popFirst() == .min)
        #expect(list.popFirst() == .min + 1)
        var wide = WindowList(every: .max)
        #expect(wide.append(from: .min, through: .max) == .max - 1)
        #expect(all(wide) == [.min, -1, .max - 1])
    }
}
