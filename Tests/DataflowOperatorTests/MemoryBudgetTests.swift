import Testing

@testable import DataflowOperator

@Suite struct MemoryBudgetTests {
    private func budget(_ limit: Int) -> MemoryBudget { MemoryBudget(limit: limit, spillingTo: "/nonexistent") }

    @Test func `one operator may have all of it`() {
        let budget = budget(1 << 20)
        let one = budget.reserve(canSpill: true)
        #expect(one.resize(to: 1 << 20))
        #expect(!one.resize(to: 1 << 20 + 1))
        #expect(budget.used == 1 << 20 + 1)
        #expect(one.resize(to: 0))
        #expect(budget.used == 0)
    }

    @Test func `over the limit the one with more than its share gives way`() {
        let budget = budget(1 << 20)
        let large = budget.reserve(canSpill: true)
        let small = budget.reserve(canSpill: true)
        #expect(budget.share == 1 << 19)
        #expect(large.resize(to: 900 << 10))
        #expect(small.resize(to: 300 << 10), "less than its share")
        #expect(!large.resize(to: 900 << 10))
        #expect(large.resize(to: 0))
        #expect(small.resize(to: 1 << 20))
    }

    @Test func `what cannot spill takes from the others, and is refused when it alone is too much`() {
        let budget = budget(1 << 20)
        let fixed = budget.reserve(canSpill: false)
        let other = budget.reserve(canSpill: true)
        #expect(other.resize(to: 1 << 20))
        #expect(fixed.resize(to: 768 << 10))
        #expect(budget.share == 256 << 10)
        #expect(!other.resize(to: 512 << 10))
        #expect(other.resize(to: 256 << 10))
        #expect(!fixed.resize(to: 1 << 20 + 1))
        #expect(budget.share == MemoryBudget.leastShare, "enough to go on")
    }

    @Test func `what an operator held is free when it is gone`() {
        let budget = budget(1 << 20)
        do {
            let one = budget.reserve(canSpill: true)
            let two = budget.reserve(canSpill: false)
            #expect(one.resize(to: 1000) && two.resize(to: 2000))
            #expect(budget.used == 3000)
        }
        #expect(budget.used == 0)
        #expect(budget.share == 1 << 20)
    }
}
