extension ProductVocabulary {
    /// A nutrient: its share of the rows with nutriments, its unit, the quantiles of its value, how it is rounded.
    struct Nutrient: Sendable {
        var name: String
        var share: Double
        var unit: String?
        var values: [Double]
        /// Whether only `100g` is ever filled.
        var isDerived = false
    }

    static let categoryHead = Weighted([
        ("plant-based-foods-and-beverages", 1206), ("snacks", 889), ("beverages-and-beverages-preparations", 764),
        ("dairies", 306), ("condiments", 147), ("dietary-supplements", 79), ("bebidas", 58), ("lacteos", 50),
        ("desserts", 44), ("sweeteners", 39), ("breakfasts", 25), ("meat-alternatives", 24), ("leches", 22),
        ("baby-foods", 17), ("specific-products", 16), ("meats-and-their-products", 14), ("meals", 14),
        ("cocoa-and-its-products", 13), ("cooking-helpers", 11), ("frozen-foods", 11), ("cereales", 11), ("seafood", 8),
        ("canned-foods", 8), ("alimentos-de-origen-vegetal", 7), ("fats", 5), ("broths", 5),
    ])

    static let brandHead = [
        "carrefour-bio", "nestle", "la-serenisima", "soprole", "bob-s-red-mill", "carrefour", "notco", "arcor", "schar",
        "coca-cola", "dos-pinos", "colun", "silk", "lonco-leche", "gullon", "trident", "vivo", "badia", "pacari",
        "gallo",
        "integra", "field-day", "barilla", "laive", "carozzi", "livean", "torras", "nature-s-heart", "watts", "danone",
        "hellmann-s", "gloria", "enlinea", "santiveri", "quest", "yoplait", "ena", "surlat", "helios", "heinz",
    ]

    static let additiveHead: [(String, Int)] = [
        ("en:e322", 446), ("en:e330", 157), ("en:e202", 137), ("en:e1200", 80), ("en:e14xx", 77), ("en:e102", 71),
        ("en:e306", 58), ("en:e129", 54), ("en:e340", 48), ("en:e407", 48), ("en:e471", 45), ("en:e170", 43),
        ("en:e412", 40), ("en:e270", 36), ("en:e150c", 34), ("en:e160b", 33), ("en:e418", 33), ("en:e160a", 32),
        ("en:e440", 32), ("en:e341", 31), ("en:e415", 26), ("en:e100", 25), ("en:e955", 25), ("en:e150a", 24),
        ("en:e500", 23), ("en:e300", 20), ("en:e211", 20), ("en:e110", 20), ("en:e133", 20), ("en:e1400", 19),
        ("en:e120", 19), ("en:e171", 18), ("en:e960", 18), ("en:e428", 17), ("en:e965", 17), ("en:e296", 16),
        ("en:e150d", 16), ("en:e150", 16), ("en:e410", 15), ("en:e950", 14), ("en:e200", 14), ("en:e327", 14),
        ("en:e223", 13), ("en:e307", 13), ("en:e160c", 12), ("en:e331", 11), ("en:e319", 11), ("en:e322i", 11),
    ]

    static let packagingHead: [(String, Int)] = [
        ("en:plastic", 389), ("en:metal", 55), ("en:glass", 55), ("en:tetra-pak", 54), ("en:box", 38), ("en:paper", 30),
        ("en:container", 27), ("en:bottle", 26), ("en:cardboard", 21), ("en:bag", 20), ("en:multilayer-composite", 15),
        ("en:composite-material", 15), ("en:frozen", 13), ("en:can", 12), ("en:glass-bottle", 11), ("en:brick", 10),
        ("en:canned", 8), ("es:producto", 8), ("es:botella-de-plastico", 7), ("en:pot", 6), ("en:film", 6),
        ("fr:etui-en-carton", 6), ("es:caja-de-carton", 5), ("fr:sachet-plastique", 5), ("plastic", 20), ("carton", 15),
        ("plastique", 8), ("muovi", 5), ("05-pp", 5),
    ]

    /// Rows: grade; columns: NOVA 1, 2, 3, 4, unknown. Counts of complete products.
    static let gradeAndNova: [(grade: String, counts: [Double])] = [
        ("a", [187, 3, 78, 258, 99]), ("b", [74, 21, 46, 242, 112]), ("c", [31, 17, 85, 380, 105]),
        ("d", [21, 8, 65, 353, 107]), ("e", [16, 30, 66, 372, 101]), ("unknown", [95, 24, 60, 539, 3164]),
        ("not-applicable", [14, 15, 30, 211, 104]),
    ]

    static let novaTags = [
        "en:1-unprocessed-or-minimally-processed-foods", "en:2-processed-culinary-ingredients", "en:3-processed-foods",
        "en:4-ultra-processed-food-and-drink-products", "unknown",
    ]

    static let nutrientList: [Nutrient] = {
        let energy = [0, 2.8, 58, 249, 390, 576, 830.7, 900]
        let macro = [0, 0, 0.14, 3.6, 14.4, 47, 78, 100]
        let salt = [0, 0, 0.0165, 0.15, 0.74, 2.6, 17.6, 30]
        let trace = [0, 0, 0.0001, 0.002, 0.02, 0.3, 0.9, 2]
        return [
            Nutrient(name: "energy-kcal", share: 0.944, unit: "kcal", values: energy),
            Nutrient(name: "energy", share: 0.943, unit: "kJ", values: energy.map { $0 * 4.184 }),
            Nutrient(name: "carbohydrates", share: 0.931, unit: "g", values: [0, 0, 2.6, 14, 53, 79, 93, 100]),
            Nutrient(name: "fat", share: 0.929, unit: "g", values: [0, 0, 0.14, 2.5, 14.4, 40.7, 92, 100]),
            Nutrient(name: "proteins", share: 0.929, unit: "g", values: [0, 0, 0.56, 5, 10, 32.6, 70, 88]),
            Nutrient(name: "sodium", share: 0.829, unit: "g", values: salt.map { $0 / 2.5 }),
            Nutrient(name: "salt", share: 0.829, unit: "g", values: salt),
            Nutrient(name: "sugars", share: 0.812, unit: "g", values: [0, 0, 0, 3.571, 10.1, 47.8, 75, 100]),
            Nutrient(name: "saturated-fat", share: 0.803, unit: "g", values: [0, 0, 0, 0.9, 4, 19, 40, 90]),
            Nutrient(name: "energy-kj", share: 0.656, unit: "kJ", values: energy.map { $0 * 4.184 }),
            Nutrient(name: "fiber", share: 0.641, unit: "g", values: [0, 0, 0, 1.6, 4.2, 14, 36, 80]),
            Nutrient(name: "added-sugars", share: 0.541, unit: "g", values: [0, 0, 0, 0.5, 9, 46, 75, 100]),
            Nutrient(name: "nova-group", share: 0.527, unit: "", values: [1, 1, 3, 4, 4, 4, 4, 4]),
            Nutrient(
                name: "fruits-vegetables-legumes-estimate-from-ingredients", share: 0.445, unit: nil,
                values: [0, 0, 0, 0, 12, 80, 100, 100], isDerived: true),
            Nutrient(
                name: "fruits-vegetables-nuts-estimate-from-ingredients", share: 0.439, unit: nil,
                values: [0, 0, 0, 0, 14, 84, 100, 100], isDerived: true),
            Nutrient(name: "trans-fat", share: 0.304, unit: "g", values: [0, 0, 0, 0, 0, 0.4, 1.2, 8]),
            Nutrient(name: "cholesterol", share: 0.272, unit: "g", values: trace),
            Nutrient(name: "calcium", share: 0.269, unit: "g", values: trace),
            Nutrient(name: "iron", share: 0.252, unit: "g", values: trace.map { $0 / 10 }),
            Nutrient(name: "vitamin-a", share: 0.18, unit: "g", values: trace.map { $0 / 100 }),
            Nutrient(name: "vitamin-c", share: 0.164, unit: "g", values: trace.map { $0 / 10 }),
            Nutrient(name: "potassium", share: 0.161, unit: "g", values: trace),
            Nutrient(name: "monounsaturated-fat", share: 0.132, unit: "g", values: macro),
            Nutrient(name: "polyunsaturated-fat", share: 0.129, unit: "g", values: macro),
            Nutrient(name: "zinc", share: 0.124, unit: "g", values: trace.map { $0 / 100 }),
            Nutrient(name: "phosphorus", share: 0.123, unit: "g", values: trace),
            Nutrient(name: "starch", share: 0.122, unit: "g", values: macro),
            Nutrient(name: "choline", share: 0.121, unit: "g", values: trace),
            Nutrient(name: "vitamin-e", share: 0.119, unit: "g", values: trace.map { $0 / 100 }),
            Nutrient(name: "vitamin-d", share: 0.118, unit: "g", values: trace.map { $0 / 10_000 }),
            Nutrient(name: "magnesium", share: 0.118, unit: "g", values: trace),
            Nutrient(name: "manganese", share: 0.101, unit: "g", values: trace.map { $0 / 100 }),
            Nutrient(name: "copper", share: 0.1, unit: "g", values: trace.map { $0 / 100 }),
            Nutrient(name: "selenium", share: 0.099, unit: "g", values: trace.map { $0 / 10_000 }),
            Nutrient(name: "caffeine", share: 0.097, unit: "g", values: trace),
            Nutrient(name: "vitamin-k", share: 0.097, unit: "g", values: trace.map { $0 / 10_000 }),
            Nutrient(name: "alcohol", share: 0.054, unit: "% vol", values: [0, 0, 0, 0, 5, 13, 40, 60]),
            Nutrient(name: "vitamin-pp", share: 0.025, unit: "g", values: trace.map { $0 / 100 }),
            Nutrient(name: "polyols", share: 0.024, unit: "g", values: macro),
        ]
    }()

    static let syllables = [
        "ba", "be", "bi", "bo", "ca", "co", "cu", "da", "de", "do", "el", "en", "fa", "fi", "fo", "ga", "go", "gra",
        "ka",
        "ki", "la", "le", "li", "lo", "lu", "ma", "me", "mi", "mo", "na", "ne", "ni", "no", "nu", "or", "pa", "pe",
        "pi",
        "po", "pra", "ra", "re", "ri", "ro", "ru", "sa", "se", "si", "so", "sta", "ta", "te", "ti", "to", "tra", "tu",
        "va",
        "ve", "vi", "vo", "xi", "ya", "za", "zo",
    ]

    static let wordList = [
        "almond", "apple", "apricot", "artichoke", "avocado", "bacon", "balsamic", "banana", "barley", "basil", "bean",
        "beef", "beetroot", "berry", "biscuit", "black", "blend", "blueberry", "bread", "brioche", "broccoli", "brown",
        "butter", "cabbage", "cacao", "cake", "caramel", "carrot", "cashew", "cereal", "cheddar", "cheese", "cherry",
        "chicken", "chickpea", "chili", "chips", "chocolate", "chopped", "cider", "cinnamon", "classic", "cocoa",
        "coconut",
        "coffee", "cookie", "corn", "cracker", "cranberry", "cream", "crisp", "crunchy", "cucumber", "curry", "dark",
        "date",
        "dressing", "dried", "egg", "extra", "fennel", "fig", "filling", "fine", "fish", "flakes", "flour", "free",
        "fresh",
        "fried", "fruit", "garlic", "ginger", "gluten", "golden", "granola", "grape", "green", "ground", "ham",
        "hazelnut",
        "herb", "honey", "hot", "ice", "instant", "italian", "jam", "juice", "kale", "ketchup", "lemon", "lentil",
        "lettuce",
        "light", "lime", "low", "macaroni", "malt", "mango", "maple", "mayonnaise", "meal", "melon", "milk", "mini",
        "mint",
        "mixed", "mozzarella", "muesli", "mushroom", "mustard", "natural", "noodle", "nut", "oat", "oil", "olive",
        "onion",
        "orange", "oregano", "organic", "original", "paprika", "parmesan", "parsley", "pasta", "pea", "peach", "peanut",
        "pear", "pepper", "pesto", "pickle", "pie", "pineapple", "pistachio", "pizza", "plain", "plum", "pork",
        "potato",
        "powder", "protein", "prune", "pumpkin", "puree", "quinoa", "raisin", "raspberry", "raw", "red", "rice",
        "roasted",
        "rosemary", "rye", "salad", "salmon", "salt", "salted", "sauce", "sausage", "seasoning", "seed", "sesame",
        "shake",
        "smoked", "smoothie", "snack", "soft", "soup", "sour", "soya", "spaghetti", "spelt", "spice", "spinach",
        "spread",
        "squash", "strawberry", "sugar", "sunflower", "sweet", "syrup", "tea", "thyme", "toast", "tofu", "tomato",
        "traditional", "truffle", "tuna", "turkey", "turmeric", "vanilla", "vegetable", "vegan", "vinegar", "wafer",
        "walnut",
        "water", "wheat", "white", "whole", "wine", "yeast", "yoghurt", "zero", "zucchini",
    ]

    static let accentedList = [
        "azúcar", "piña", "café", "crème", "brûlée", "jalapeño", "maíz", "limón", "pâté", "gruyère", "Käse", "Brötchen",
        "Müsli", "śliwka", "mąka", "słodki", "açaí", "pão", "feijão", "îles", "œuf", "čokoláda", "šunka", "чай", "сыр",
        "молоко",
        "σοκολάτα", "ελιά", "שוקולד", "شاي", "茶", "豆腐", "チョコ", "김치", "ชา",
    ]
}
