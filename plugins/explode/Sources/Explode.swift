// Explode
