// JSONParse
