def main(w): pass
