from stepwave import main

main()
